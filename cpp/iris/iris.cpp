// SPDX-License-Identifier: Apache-2.0
#include "iris/iris.h"

#include <cassert>

#include "core/parallel.h"
#include "iris/iris_kernels.h"

namespace abis {
namespace {

constexpr std::size_t kReferencesABlock = 512;

// The code from `reach` columns before its first on, round and round, with room for a last whole block.
std::vector<std::uint8_t> repeated(const std::uint8_t* code, std::size_t bytes, std::size_t before) {
    std::vector<std::uint8_t> turned(bytes + 2 * before + kIrisBlock);
    for (std::size_t k = 0; k < bytes + 2 * before; ++k) turned[k] = code[(k + bytes - before) % bytes];
    return turned;
}

}  // namespace

IrisProbe::IrisProbe(const std::uint8_t* bits, const std::uint8_t* mask, std::size_t bytes, std::size_t bytes_a_column,
                     std::size_t reach)
    : bits_(repeated(bits, bytes, reach * bytes_a_column)),
      mask_(repeated(mask, bytes, reach * bytes_a_column)),
      step_(bytes_a_column),
      rotations_(2 * reach + 1) {
    assert(reach * bytes_a_column <= bytes);
}

void IrisProbe::compare(const std::uint8_t* references, std::size_t stride, const std::int64_t* which,
                        std::size_t count, unsigned threads, const std::function<void()>& poll, float* scores) const {
    const auto score = iris_kernels().score;
    for_blocks(
        count, kReferencesABlock, threads,
        [&](std::size_t begin, std::size_t end, unsigned) {
            for (std::size_t k = begin; k < end; ++k) {
                const std::size_t row = which ? static_cast<std::size_t>(which[k]) : k;
                scores[k] = score(bits_.data(), mask_.data(), references + row * 2 * stride, stride, step_, rotations_);
            }
        },
        poll);
}

}  // namespace abis
