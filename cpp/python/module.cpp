// SPDX-License-Identifier: Apache-2.0
// Python's door to the core: each binding unpacks, checks shapes, releases the GIL and calls. No logic here.
#include <string>
#include <utility>

#include "core/parallel.h"
#include "core/simd.h"
#include "python/arrays.h"

namespace abis {

py::object& poll_function() {
    static auto* const function = new py::object;
    return *function;
}

}  // namespace abis

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
    using namespace abis;
    simd_level();  // a bad ABIS_SIMD is refused here, not in the middle of a search
    module.doc() = "The native core of abis; see _core.pyi. Use abis.comparison instead.";
    bind_comparison(module);
    bind_embeddings(module);
    bind_finger_index(module);
    bind_finger_tile(module);
    bind_iris(module);
    bind_tally(module);
    module.def("available_cores", [](const std::string& root) { return available_cores(root); }, "root"_a);
    module.def("simd_level", [] { return name_of(simd_level()); });
    module.def("set_poll", [](py::function poll) { poll_function() = std::move(poll); }, "poll"_a);
}
