// SPDX-License-Identifier: Apache-2.0
// The inner loops of the comparison of iris codes, and of the coarse look at many.
#pragma once

#include <cstddef>
#include <cstdint>

namespace abis {

struct IrisKernels {
    // The score of one reference, bits and mask of `stride` bytes each, and a probe of which the k-th rotation starts
    // k * step bytes later.
    float (*score)(const std::uint8_t* probe_bits, const std::uint8_t* probe_mask, const std::uint8_t* reference,
                   std::size_t stride, std::size_t step, std::size_t rotations);
    // Squares of the scores, with the scores' signs, of the references of one block; see iris_look.h.
    void (*look)(const std::uint64_t* probe, std::size_t coarse, std::size_t rotations, std::size_t words,
                 const std::uint64_t* block, float* squares);
};

// Those of the level in use.
const IrisKernels& iris_kernels();

}  // namespace abis
