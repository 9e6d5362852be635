// SPDX-License-Identifier: Apache-2.0
// The loops where the time of a comparison goes. kernels.cpp compiles them for every instruction set; the operations
// and their order are the same everywhere, so the results are the same to the bit.
#include "core/set_bits-inl.h"

namespace abis::ABIS_TARGET {
namespace {

// The share of set bits that two cylinders have in common, 2 |a & b| / (|a| + |b|): one AND and one count a
// word. similarity.h tells how it stands for the similarity of [MCC, equation 19].
void similarities(const PreparedView& first, const PreparedView& second, std::uint8_t* similarity) {
    const std::size_t stride = second.stride();
    const std::uint64_t* words = second.words();
    const std::uint16_t* bits = second.bits();
    alignas(64) std::uint64_t common[parameters::kMaxMinutiae + kLanes];
    for (std::size_t i = 0; i < first.size(); ++i) {
        std::uint8_t* row = similarity + i * stride;
        std::uint64_t own[kCylinderWords];
        for (std::size_t w = 0; w < kCylinderWords; ++w) own[w] = first.words()[w * first.stride() + i];
        for (std::size_t j = 0; j < stride; ++j) {
            std::uint64_t count = 0;
            for (std::size_t w = 0; w < kCylinderWords; ++w) {
                const std::uint64_t both = own[w] & words[w * stride + j];
                count += set_bits(both);
            }
            common[j] = count;
        }
        const float own_bits = std::max(1.0F, static_cast<float>(first.bits()[i]));  // no bits: nothing in common
        for (std::size_t j = 0; j < stride; ++j) {
            const float shared =
                static_cast<float>(2 * static_cast<std::int32_t>(common[j])) / (own_bits + static_cast<float>(bits[j]));
            row[j] = static_cast<std::uint8_t>(static_cast<std::int32_t>(shared * kSharedScale + kSharedOffset));
        }
    }
}

void row_maxima(const std::uint8_t* similarity, std::size_t rows, std::size_t stride, std::uint8_t* most) {
    for (std::size_t i = 0; i < rows; ++i) {
        const std::uint8_t* row = similarity + i * stride;
        std::uint8_t lanes[kLanes] = {}, largest = 0;
        for (std::size_t j = 0; j < stride; j += kLanes) {
            for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] = std::max(lanes[lane], row[j + lane]);
        }
        for (const std::uint8_t lane : lanes) largest = std::max(largest, lane);
        most[i] = largest;
    }
}

// Two pairs of minutiae support each other where the second minutia lies in the frame of the first as its
// partner lies in its partner's: same distance, same bearings at both ends, same turn [MCC, section 4.2].
void compatibilities(const CandidateArrays& c, std::size_t n, float* compatibility) {
    using namespace parameters;
    for (std::size_t a = 0; a < n; ++a) {
        float* row = compatibility + a * kMaxCandidates;
        const float fx = c.first_x[a], fy = c.first_y[a], fc = c.first_cosine[a], fs = c.first_sine[a];
        const float sx = c.second_x[a], sy = c.second_y[a], sc = c.second_cosine[a], ss = c.second_sine[a];
        const std::int32_t turn = c.first_direction[a] - c.second_direction[a];
        const std::int32_t first = c.first[a], second = c.second[a];
        for (std::size_t b = 0; b < n; ++b) {
            const float dx1 = c.first_x[b] - fx, dy1 = c.first_y[b] - fy;
            const float dx2 = c.second_x[b] - sx, dy2 = c.second_y[b] - sy;
            const float d1 = std::sqrt(dx1 * dx1 + dy1 * dy1), d2 = std::sqrt(dx2 * dx2 + dy2 * dy2);
            const float stretch = (d1 - d2) / (kDistanceTolerance + kDistanceToleranceGrowth * 0.5F * (d1 + d2));
            // Bearings as unit vectors; the cosine of their difference is one dot product a frame.
            const float scale = 1.0F / (d1 * d2 + 1e-6F);
            const float here =
                ((dx1 * fc + dy1 * fs) * (dx2 * sc + dy2 * ss) + (dy1 * fc - dx1 * fs) * (dy2 * sc - dx2 * ss)) * scale;
            const float f2 = c.first_cosine[b], g2 = c.first_sine[b], s2 = c.second_cosine[b], t2 = c.second_sine[b];
            const float there =
                ((dx1 * f2 + dy1 * g2) * (dx2 * s2 + dy2 * t2) + (dy1 * f2 - dx1 * g2) * (dy2 * s2 - dx2 * t2)) * scale;
            const float bearing = (1.0F - here) * (1 / kRadialTolerance),
                        bearing_back = (1.0F - there) * (1 / kRadialTolerance);
            const std::int32_t difference = (turn - (c.first_direction[b] - c.second_direction[b])) & 255;
            const float angle =
                static_cast<float>(difference < 128 ? difference : 256 - difference) * (1 / kAngleTolerance);
            const float stretch2 = stretch * stretch, angle2 = angle * angle;
            const float value = 1.0F / (((1.0F + stretch2 * stretch2) * (1.0F + angle2 * angle2)) *
                                        ((1.0F + bearing * bearing) * (1.0F + bearing_back * bearing_back)));
            const bool exclusive = (c.first[b] == first) | (c.second[b] == second);
            row[b] = exclusive ? 0.0F : value;
        }
    }
}

void relax(const float* compatibility, const float* support, std::size_t n, float gain, float* next) {
    for (std::size_t a = 0; a < n; ++a) next[a] = 0;
    for (std::size_t b = 0; b < n; ++b) {  // the matrix is symmetric: a column is a row
        const float* row = compatibility + b * parameters::kMaxCandidates;
        const float given = support[b];
        for (std::size_t a = 0; a < n; ++a) next[a] += row[a] * given;
    }
    for (std::size_t a = 0; a < n; ++a) next[a] = 0.5F * support[a] + gain * next[a];
}

// Residuals are averaged with weights 1 / (1 + (d / reach)^2 / 2)^2, held back by the stiffness.
void bend(const AnchorArrays& anchors, const float* from_x, const float* from_y, std::size_t n, float* x, float* y) {
    using namespace parameters;
    alignas(64) float weight[kMaxMinutiae + 1], shift_x[kMaxMinutiae + 1], shift_y[kMaxMinutiae + 1];
    for (std::size_t i = 0; i < n; ++i) {
        weight[i] = kElasticStiffness;
        shift_x[i] = shift_y[i] = 0;
    }
    for (std::size_t a = 0; a < anchors.size; ++a) {
        const float ax = anchors.x[a], ay = anchors.y[a], rx = anchors.residual_x[a], ry = anchors.residual_y[a];
        for (std::size_t i = 0; i < n; ++i) {
            const float dx = from_x[i] - ax, dy = from_y[i] - ay;
            const float nearness = 1.0F / (1.0F + (dx * dx + dy * dy) * (0.5F / (kElasticReach * kElasticReach)));
            const float w = nearness * nearness;
            weight[i] += w;
            shift_x[i] += w * rx;
            shift_y[i] += w * ry;
        }
    }
    for (std::size_t i = 0; i < n; ++i) {
        x[i] += shift_x[i] / weight[i];
        y[i] += shift_y[i] / weight[i];
    }
}

// float16 to float32, exact for every finite value, and without subnormal float32 operands, which a thread may have
// been told to flush to zero.
inline float widen(std::uint16_t half) {
    const std::uint32_t magnitude = half & 0x7FFFU, sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
    const float normal = std::bit_cast<float>((magnitude << 13) + (112U << 23));  // the exponent's bias: 127 - 15
    const float subnormal = static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude < 0x0400U ? subnormal : normal) | sign);
}

void dot_products(const std::uint16_t* probe, const std::uint16_t* rows, std::size_t stride, const std::int64_t* which,
                  std::size_t count, std::size_t d, float* scores) {
    constexpr std::size_t kSums = 32;              // fixed, so that the order of additions is
    constexpr std::size_t kAhead = 4, kLine = 32;  // rows, and values in a line of memory
    for (std::size_t r = 0; r < count; ++r) {
        if (which != nullptr && r + kAhead < count) {  // rows that lie anywhere in memory are asked for beforehand
            const std::uint16_t* ahead = rows + static_cast<std::size_t>(which[r + kAhead]) * stride;
            for (std::size_t k = 0; k < d; k += kLine) __builtin_prefetch(ahead + k);
        }
        const std::uint16_t* row = rows + (which == nullptr ? r : static_cast<std::size_t>(which[r])) * stride;
        alignas(64) float sums[kSums] = {};
        std::size_t k = 0;
        for (; k + kSums <= d; k += kSums) {
            for (std::size_t lane = 0; lane < kSums; ++lane)
                sums[lane] += widen(probe[k + lane]) * widen(row[k + lane]);
        }
        for (std::size_t lane = 0; k + lane < d; ++lane) sums[lane] += widen(probe[k + lane]) * widen(row[k + lane]);
        for (std::size_t half = kSums / 2; half > 0; half /= 2) {
            for (std::size_t lane = 0; lane < half; ++lane) sums[lane] += sums[lane + half];
        }
        scores[r] = sums[0];
    }
}

void rotate(const std::uint16_t* vector, std::size_t d, const float* signs, std::size_t n, float* turned) {
    for (std::size_t k = 0; k < n; ++k) turned[k] = k < d ? widen(vector[k]) : 0.0F;
    for (const float* own = signs; own < signs + 2 * n; own += n) {
        for (std::size_t k = 0; k < n; ++k) turned[k] *= own[k];
        for (std::size_t half = 1; half < n; half *= 2) {
            for (std::size_t start = 0; start < n; start += 2 * half) {
                for (std::size_t k = start; k < start + half; ++k) {
                    const float a = turned[k], b = turned[k + half];
                    turned[k] = a + b;
                    turned[k + half] = a - b;
                }
            }
        }
    }
    const float scale = 1.0F / static_cast<float>(n);  // exact
    for (std::size_t k = 0; k < n; ++k) turned[k] *= scale;
}

constexpr Kernels kTable{similarities, row_maxima, compatibilities, relax, bend, dot_products, rotate};

}  // namespace
}  // namespace abis::ABIS_TARGET
