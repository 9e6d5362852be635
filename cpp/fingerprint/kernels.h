// SPDX-License-Identifier: Apache-2.0
// The loops where the time of a comparison goes, by the instructions of this CPU; their bodies are in kernels-inl.h.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "core/simd.h"
#include "fingerprint/parameters.h"
#include "fingerprint/prepared.h"
#include "fingerprint/similarity.h"

namespace abis {

// Candidate pairs of minutiae as structure of arrays, both sides.
struct CandidateArrays {
    static constexpr std::size_t kRoom = parameters::kMaxCandidates;
    alignas(64) float first_x[kRoom], first_y[kRoom], first_cosine[kRoom], first_sine[kRoom];
    alignas(64) float second_x[kRoom], second_y[kRoom], second_cosine[kRoom], second_sine[kRoom];
    alignas(64) std::int32_t first_direction[kRoom], second_direction[kRoom];
    alignas(64) std::int32_t first[kRoom], second[kRoom];  // indices of the minutiae
};

// Anchors: pairs that pull the alignment, with what the rigid part leaves over.
struct AnchorArrays {
    static constexpr std::size_t kRoom = parameters::kMaxMinutiae + 1;
    alignas(64) float x[kRoom], y[kRoom];                    // on the first template
    alignas(64) float residual_x[kRoom], residual_y[kRoom];  // on the second
    std::size_t size = 0;
};

struct Kernels {
    // similarity[i * second.stride() + j] for all pairs, as bytes that similarity_of reads.
    void (*similarities)(const PreparedView& first, const PreparedView& second, std::uint8_t* similarity);
    // most[i], the largest of row i's `stride` bytes, a multiple of kLanes.
    void (*row_maxima)(const std::uint8_t* similarity, std::size_t rows, std::size_t stride, std::uint8_t* most);
    // compatibility[a * kMaxCandidates + b] in [0, 1] for all a, b below n.
    void (*compatibilities)(const CandidateArrays& candidates, std::size_t n, float* compatibility);
    // One round: next[a] = support[a] / 2 + gain * sum over b of compatibility[a][b] * support[b].
    void (*relax)(const float* compatibility, const float* support, std::size_t n, float gain, float* next);
    // Adds to (x, y)[i], minutiae of the first template laid on the second, what the anchors' residuals say.
    void (*bend)(const AnchorArrays& anchors, const float* from_x, const float* from_y, std::size_t n, float* x,
                 float* y);
    // Dot products of float16 vectors: scores[r] = probe . row r, summed in a fixed order.
    void (*dot_products)(const std::uint16_t* probe, const std::uint16_t* rows, std::size_t stride,
                         const std::int64_t* which, std::size_t count, std::size_t d, float* scores);
    // A float16 vector of d values, filled up with zeros to n, a power of two, and turned: twice its components by
    // signs, 2 n of +1 and -1, and a Walsh-Hadamard transform; as long as before.
    void (*rotate)(const std::uint16_t* vector, std::size_t d, const float* signs, std::size_t n, float* turned);
};

const Kernels& kernels();

}  // namespace abis
