// SPDX-License-Identifier: Apache-2.0
// What every binding needs: arrays as Python hands them over, templates, checks, and Ctrl-C.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "fingerprint/template.h"

namespace abis {

namespace py = pybind11;
using namespace py::literals;

// A NumPy array of exactly this type, contiguous and aligned. Nothing is converted: any other argument is a TypeError.
template <class T>
class Array : public py::array_t<T, py::array::c_style> {
public:
    using Base = py::array_t<T, py::array::c_style>;
    using Base::Base;

    static bool check_(py::handle object) {
        using py::detail::npy_api;
        return Base::check_(object) && py::detail::check_flags(object.ptr(), npy_api::NPY_ARRAY_ALIGNED_);
    }
    std::size_t count() const { return static_cast<std::size_t>(this->size()); }
    std::size_t extent(py::ssize_t axis) const { return static_cast<std::size_t>(this->shape(axis)); }
    // The values as they are now. Another thread may change the array once the GIL is released, so whatever the core
    // relies on is copied, then checked.
    std::vector<T> copied() const { return {this->data(), this->data() + count()}; }
};

using Indices = Array<std::int64_t>;
using Bytes = Array<std::uint8_t>;
using Words = Array<std::uint64_t>;

// A new array for results.
template <class T>
py::array_t<T> array_of(std::size_t count) {
    return py::array_t<T>(static_cast<py::ssize_t>(count));
}
template <class T>
py::array_t<T> array_of(const std::vector<T>& values) {
    return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

// Throws std::invalid_argument, a ValueError in Python, unless `good`.
inline void check(bool good, const char* what) {
    if (!good) throw std::invalid_argument(what);
}

// A copy of an (m,) array of numbers below `end`. Throws py::index_error.
std::vector<std::int64_t> checked_indices(const Indices& indices, std::size_t end);

// Copies of templates, given as columns with a row a minutia, template after template.
class Templates {
public:
    Templates(const Array<std::uint16_t>& x, const Array<std::uint16_t>& y, const Array<float>& direction,
              const Bytes& kind, const Bytes& quality);
    // All of the minutiae as one template.
    const RawTemplate& one(int resolution_x, int resolution_y);
    // counts[t] minutiae for template t, all of them in the end, and (t, 2) resolutions.
    const std::vector<RawTemplate>& many(const Indices& counts, const Array<std::int32_t>& resolutions);

private:
    void add(std::size_t begin, std::int64_t count, int resolution_x, int resolution_y);

    std::vector<std::uint16_t> x_, y_;
    std::vector<float> direction_;
    std::vector<std::uint8_t> kind_, quality_;
    std::vector<RawTemplate> templates_;
};

// A function of Python that every poll calls beside its look for Ctrl-C; an exception that it raises ends the loop.
// Never destroyed: the interpreter may be gone before.
py::object& poll_function();

// Looks for Ctrl-C now and then, and calls poll_function(); called without the GIL from the thread that came from
// Python.
class SignalPoll {
public:
    void operator()() {
        const auto now = std::chrono::steady_clock::now();
        if (now - last_ < std::chrono::milliseconds(50)) return;
        last_ = now;
        const py::gil_scoped_acquire hold;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        if (poll_function()) poll_function()();
    }

private:
    std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

// The bindings of each subject.
void bind_comparison(py::module_& module);
void bind_embeddings(py::module_& module);
void bind_finger_index(py::module_& module);
void bind_finger_tile(py::module_& module);
void bind_iris(py::module_& module);
void bind_tally(py::module_& module);

}  // namespace abis

namespace pybind11::detail {

template <class T>
struct pyobject_caster<abis::Array<T>> {
    using type = abis::Array<T>;

    bool load(handle source, bool) {
        if (!type::check_(source)) return false;
        value = reinterpret_borrow<type>(source);
        return true;
    }
    static handle cast(const handle& source, return_value_policy, handle) { return source.inc_ref(); }
    PYBIND11_TYPE_CASTER(type, handle_type_name<typename type::Base>::name);
};

}  // namespace pybind11::detail
