// SPDX-License-Identifier: Apache-2.0
// Codes of embeddings: half a byte for each eight components of a rotated vector, which is the nearest corner of a
// cross-polytope [Andoni et al. 2015, "Practical and Optimal LSH for Angular Distance"]: the largest component in size,
// and its sign. What a probe's own components say of each corner is a table, so that a look is a sum of table entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace abis {

// So many codes lie byte by byte side by side, as a vector register takes them.
inline constexpr std::size_t kCodesTogether = 16;
inline constexpr std::size_t kCorners = 16;         // what half a byte tells apart
inline constexpr std::size_t kCodeStep = 32;        // a code has one or more runs of so many bytes
inline constexpr std::uint8_t kMostOfCorner = 127;  // two entries make a byte

struct EmbeddingCodesView {
    // Of each kCodesTogether codes the first byte, the second, ...; the last ones are filled up.
    const std::uint8_t* bytes;
    std::size_t count;
    std::size_t length;  // of a code in bytes, a multiple of kCodeStep
};

// The codes of float16 vectors, d values each, one after the other: the corners of vectors turned by kernels().rotate
// with `signs` to n components, 16 times kCodeStep or a multiple. Of a half byte the top bit is set where the component
// is negative, the others tell which of the eight is the largest in size, of equal ones the first; the lower half is
// the first.
void encode_embeddings(const std::uint16_t* vectors, std::size_t count, std::size_t d, const float* signs,
                       std::size_t n, unsigned threads, const std::function<void()>& poll, std::uint8_t* codes);

// evidence[k] is by_sum[s], where s adds up what `corners` has for all halves of bytes of code k, kMostOfCorner each at
// most: corners[j * kCorners + v] where the lower half of byte j is v; those for upper halves follow.
void evidence_of_embedding_codes(const std::uint8_t* corners, const EmbeddingCodesView& codes, const float* by_sum,
                                 unsigned threads, const std::function<void()>& poll, float* evidence);

}  // namespace abis
