// SPDX-License-Identifier: Apache-2.0
#include "search/finger_tile.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <limits>
#include <numeric>
#include <span>
#include <stdexcept>
#include <thread>

#include "core/parallel.h"
#include "fingerprint/comparer.h"
#include "search/code_evidence.h"
#include "search/code_projection.h"

namespace abis {
namespace {

using namespace parameters;

constexpr std::size_t kCodeBlock = 4096;      // codes a thread takes at a time: some milliseconds
constexpr std::size_t kNearBlock = 128;       // fingers
constexpr std::size_t kRefineBlock = 256;     // pairs
constexpr std::size_t kCompareBlock = 64;     // pairs
constexpr std::size_t kProbesTogether = 256;  // some 600 kB, prepared

// What votes for one finger say.
float evidence_of(const CodeVote* begin, const CodeVote* end) {
    VoteBins bins{};
    for (; begin != end; ++begin) {
        bins.worth[begin->bin] += begin->worth;
        bins.voted |= std::uint32_t{1} << begin->bin;
    }
    return static_cast<float>(most_votes(bins)) * (0.5F / kWorthScale);
}

struct NearWorkspace {
    std::vector<CodedMinutia> own;
    std::vector<CodeVote> votes;
    std::vector<std::int32_t> totals;  // of each finger, 0 between two probes
};

// Leaves the votes for pairs of fingers of which `promising` says so, given what all votes for the pair add up to: that
// is the most that those of one rotation can. They are then in the order of probes and fingers.
template <class Promising>
void keep_promising(std::vector<CodeVote>& votes, std::vector<std::int32_t>& totals, std::size_t from, std::size_t to,
                    Promising promising) {
    std::vector<std::size_t> ends(to - from + 1);
    for (const CodeVote& v : votes) ++ends[v.probe - from + 1];
    std::partial_sum(ends.begin(), ends.end(), ends.begin());
    std::vector<CodeVote> by_probe(votes.size());
    std::vector<std::size_t> next(ends.begin(), ends.end() - 1);
    for (const CodeVote& v : votes) by_probe[next[v.probe - from]++] = v;
    votes.clear();
    for (std::size_t p = 0; p + 1 < ends.size(); ++p) {
        const std::span own(by_probe.data() + ends[p], ends[p + 1] - ends[p]);
        for (const CodeVote& v : own) totals[v.finger] += v.worth;
        const auto kept = static_cast<std::ptrdiff_t>(votes.size());
        for (const CodeVote& v : own)
            if (promising(v, totals[v.finger])) votes.push_back(v);
        for (const CodeVote& v : own) totals[v.finger] = 0;
        std::sort(votes.begin() + kept, votes.end(),
                  [](const CodeVote& a, const CodeVote& b) { return a.finger < b.finger; });
    }
}

}  // namespace

FingerTile::FingerTile(const IndexColumns& c, std::size_t fingers, unsigned threads,
                       const std::function<void()>& poll) {
    if (std::accumulate(c.sizes, c.sizes + fingers, std::uint64_t{0}) > std::numeric_limits<std::uint32_t>::max())
        throw std::length_error("a tile holds fewer than 2^32 minutiae");
    begins_.reserve(fingers + 1);
    begins_.push_back(0);
    for (std::size_t f = 0; f < fingers; ++f) begins_.push_back(begins_.back() + c.sizes[f]);
    minutiae_.resize(begins_.back());
    std::size_t telling = 0;
    for (std::size_t m = 0; m < begins_.back(); ++m) telling += tells({c.first[m], c.second[m]}) ? 1 : 0;
    first_.reserve(telling + kLanes - 1);
    second_.reserve(telling + kLanes - 1);
    place_.reserve(telling);
    direction_.reserve(telling);
    code_begins_.reserve(fingers + 1);
    code_begins_.push_back(0);
    std::array<MinutiaCode, kMaxMinutiae> codes;
    for (std::size_t f = 0; f < fingers; ++f) {
        read_slot(c, begins_[f], minutiae_of(f), minutiae_.data() + begins_[f], codes.data());
        for (std::size_t i = 0; i < minutiae_of(f); ++i) {
            if (!tells(codes[i])) continue;
            first_.push_back(codes[i].first);
            second_.push_back(codes[i].second);
            place_.push_back(static_cast<std::uint8_t>(i));
            direction_.push_back(minutiae_[begins_[f] + i].direction);
        }
        code_begins_.push_back(static_cast<std::uint32_t>(place_.size()));
    }
    first_.resize(place_.size() + kLanes - 1);
    second_.resize(place_.size() + kLanes - 1);
    commonness_.resize(place_.size());
    for_blocks(
        place_.size(), kCodeBlock, threads,
        [&](std::size_t begin, std::size_t end, unsigned) {
            find_commonness(first_.data() + begin, end - begin, commonness_.data() + begin);
        },
        poll);
}

std::size_t FingerTile::memory_bytes() const {
    const std::lock_guard lock(making_);
    return sizeof *this + sizeof(std::uint32_t) * (begins_.capacity() + code_begins_.capacity()) +
           sizeof(std::uint64_t) * (first_.capacity() + second_.capacity()) + place_.capacity() +
           direction_.capacity() + sizeof(Minutia) * minutiae_.capacity() + commonness_.capacity() +
           (tables_ ? tables_->memory_bytes() : 0);
}

CodedView FingerTile::view(std::size_t finger) const {
    const std::size_t begin = code_begins_[finger];
    return {codes_of(finger), first_.data() + begin, second_.data() + begin, direction_.data() + begin};
}

void FingerTile::copy(std::size_t finger, std::vector<Minutia>& minutiae) const {
    const auto at = minutiae_.begin();
    minutiae.assign(at + static_cast<std::ptrdiff_t>(begins_[finger]),
                    at + static_cast<std::ptrdiff_t>(begins_[finger + 1]));
}

void FingerTile::add_telling(std::size_t finger, std::uint32_t number, std::vector<CodedMinutia>& minutiae) const {
    for (std::size_t c = code_begins_[finger]; c < code_begins_[finger + 1]; ++c)
        minutiae.push_back({{first_[c], second_[c]}, number, direction_[c], commonness_[c]});
}

CodedProbe FingerTile::probe(std::size_t finger) const {
    CodedProbe probe;
    for (std::size_t c = code_begins_[finger]; c < code_begins_[finger + 1]; ++c)
        probe.push(coded(finger, c), place_[c], {first_[c], second_[c]}, commonness_[c]);
    return probe;
}

const CodeTables& FingerTile::tables(unsigned threads, const std::function<void()>& poll) const {
    std::unique_lock lock(making_, std::defer_lock);
    while (!lock.try_lock()) {  // Ctrl-C is heard while another thread makes the tables
        poll();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (!tables_) {
        std::vector<CodedMinutia> telling;
        telling.reserve(place_.size());
        for (std::size_t f = 0; f < size(); ++f) add_telling(f, static_cast<std::uint32_t>(f), telling);
        tables_ = std::make_unique<const CodeTables>(std::move(telling), size(), threads, poll);
    }
    return *tables_;
}

std::vector<FingerPair> FingerTile::near(const FingerTile& probes, std::size_t begin, std::size_t end,
                                         const std::int64_t* limits, float least, unsigned threads,
                                         const std::function<void()>& poll) const {
    const CodeTables& own_tables = tables(threads, poll);
    std::vector<std::vector<FingerPair>> found((end - begin + kNearBlock - 1) / kNearBlock);
    for_blocks_with<NearWorkspace>(
        end - begin, kNearBlock, threads,
        [&](std::size_t from, std::size_t to, NearWorkspace& workspace) {
            auto& [own, votes, totals] = workspace;
            own.clear();
            for (std::size_t p = from; p < to; ++p) probes.add_telling(begin + p, static_cast<std::uint32_t>(p), own);
            votes.clear();
            own_tables.vote(own, limits, votes);
            totals.resize(size());
            const auto chance = [&](const CodeVote& v) {
                return kChanceInTables * static_cast<float>(probes.codes_of(begin + v.probe) * codes_of(v.finger));
            };
            keep_promising(votes, totals, from, to, [&](const CodeVote& v, std::int32_t total) {
                return static_cast<float>(total) / kWorthScale - chance(v) >= least;
            });
            for (auto first = votes.begin(); first != votes.end();) {
                const auto next = std::find_if(first, votes.end(), [&](const CodeVote& v) {
                    return v.probe != first->probe || v.finger != first->finger;
                });
                const float evidence = evidence_of(&*first, &*first + (next - first)) - chance(*first);
                if (evidence >= least)
                    found[from / kNearBlock].push_back(
                        {static_cast<std::int64_t>(begin + first->probe), first->finger, evidence});
                first = next;
            }
        },
        poll);
    std::vector<FingerPair> pairs;
    for (const auto& own : found) pairs.insert(pairs.end(), own.begin(), own.end());
    return pairs;
}

void FingerTile::refine(const FingerTile& probes, const std::int64_t* probe, const std::int64_t* reference,
                        std::size_t count, unsigned threads, const std::function<void()>& poll, float* evidence) const {
    for_blocks_with<PoseWorkspace>(
        count, kRefineBlock, threads,
        [&](std::size_t begin, std::size_t end, PoseWorkspace& workspace) {
            CodedProbe own;
            for (std::size_t k = begin; k < end; ++k) {
                if (k == begin || probe[k] != probe[k - 1]) own = probes.probe(static_cast<std::size_t>(probe[k]));
                const auto other = static_cast<std::size_t>(reference[k]);
                for (std::size_t i = 0; i < codes_of(other); ++i)
                    workspace.reference[i] = coded(other, code_begins_[other] + i);
                evidence[k] = evidence_of_poses(own, view(other), workspace);
            }
        },
        poll);
}

void FingerTile::compare(const FingerTile& probes, const std::int64_t* probe, const std::int64_t* reference,
                         std::size_t count, unsigned threads, const std::function<void()>& poll, float* scores) const {
    for (std::size_t begin = 0, end = 0; begin < count; begin = end) {
        std::vector<std::size_t> firsts;  // pairs: the first of each probe
        for (end = begin; end < count; ++end) {
            if (end > begin && probe[end] == probe[end - 1]) continue;
            if (firsts.size() == kProbesTogether) break;
            firsts.push_back(end);
        }
        firsts.push_back(end);
        compare_portion(probes, probe, reference, firsts, threads, poll, scores);
    }
}

// Each probe is prepared once, and each reference once for all probes: pairs are taken in the order of references.
void FingerTile::compare_portion(const FingerTile& probes, const std::int64_t* probe, const std::int64_t* reference,
                                 const std::vector<std::size_t>& firsts, unsigned threads,
                                 const std::function<void()>& poll, float* scores) const {
    struct alignas(64) Line {
        std::array<std::byte, 64> bytes;
    };
    const std::size_t runs = firsts.size() - 1;
    const auto of_run = [&](std::size_t run) { return static_cast<std::size_t>(probe[firsts[run]]); };
    std::vector<std::size_t> lines{0};
    for (std::size_t run = 0; run < runs; ++run)
        lines.push_back(lines.back() + PreparedView::bytes(probes.minutiae_of(of_run(run))) / sizeof(Line) + 1);
    std::vector<Line> prepared(lines.back());
    for_blocks_with<std::vector<Minutia>>(
        runs, kCompareBlock, threads,
        [&](std::size_t begin, std::size_t end, std::vector<Minutia>& own) {
            for (std::size_t run = begin; run < end; ++run) {
                probes.copy(of_run(run), own);
                PreparedView::write(own, prepared[lines[run]].bytes.data());
            }
        },
        poll);

    struct Wanted {
        std::size_t reference, run, number;
    };
    std::vector<Wanted> pairs;
    pairs.reserve(firsts.back() - firsts.front());
    for (std::size_t run = 0; run < runs; ++run) {
        for (std::size_t k = firsts[run]; k < firsts[run + 1]; ++k)
            pairs.push_back({static_cast<std::size_t>(reference[k]), run, k});
    }
    std::sort(pairs.begin(), pairs.end(), [](const Wanted& a, const Wanted& b) {
        return a.reference != b.reference ? a.reference < b.reference : a.number < b.number;
    });
    for_blocks_with<Comparer>(
        pairs.size(), kCompareBlock, threads,
        [&](std::size_t begin, std::size_t end, Comparer& w) {
            for (std::size_t k = begin; k < end; ++k) {
                const auto& [other, run, number] = pairs[k];
                if (k == begin || other != pairs[k - 1].reference) {
                    copy(other, w.minutiae);
                    w.reference.prepare(w.minutiae);
                }
                const PreparedView own(prepared[lines[run]].bytes.data(), probes.minutiae_of(of_run(run)));
                scores[number] = abis::compare(own, {w.reference.block.data(), w.minutiae.size()},
                                               -std::numeric_limits<float>::infinity(), w.workspace)
                                     .score;
            }
        },
        poll);
}

}  // namespace abis
