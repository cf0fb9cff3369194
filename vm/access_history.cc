#include "vm/access_history.h"

#include <algorithm>
#include <utility>

namespace mkvm::vm {

AccessHistory::AccessHistory(uint64_t elements, uint32_t workers)
    : elements_(elements), workers_(workers) {
  intervals_[0].end = elements;
}

AccessHistory::Map::iterator AccessHistory::SplitAt(uint64_t at) {
  if (at == elements_) return intervals_.end();
  const Map::iterator it = std::prev(intervals_.upper_bound(at));
  if (it->first == at) return it;
  Interval upper = it->second;
  it->second.end = at;
  return intervals_.emplace_hint(std::next(it), at, std::move(upper));
}

void AccessHistory::AddReader(const Actor& actor,
                              std::vector<Actor>& readers) const {
  // Of one worker only the last read matters. Forgetting the others now and
  // then keeps the list short at little cost.
  if (readers.size() >= 2 * size_t{workers_} + 2) {
    std::sort(
        readers.begin(), readers.end(), [](const Actor& a, const Actor& b) {
          return a.worker != b.worker ? a.worker < b.worker : a.step > b.step;
        });
    readers.erase(std::unique(readers.begin(), readers.end(),
                              [](const Actor& a, const Actor& b) {
                                return a.worker == b.worker;
                              }),
                  readers.end());
  }
  if (!readers.empty() && readers.back().worker == actor.worker) {
    readers.back() = actor;
  } else {
    readers.push_back(actor);
  }
}

std::optional<AccessHistory::Race> AccessHistory::Read(
    uint64_t begin, uint64_t end, const Actor& actor,
    const VectorClock& clock) {
  std::optional<Race> race;
  const Map::iterator first = SplitAt(begin);
  const Map::iterator last = SplitAt(end);
  for (Map::iterator it = first; it != last; ++it) {
    Interval& interval = it->second;
    if (!race.has_value() && !HappensBefore(interval.writer, clock)) {
      race = Race{it->first, interval.end, interval.writer, true};
    }
    AddReader(actor, interval.readers);
  }
  return race;
}

std::optional<AccessHistory::Race> AccessHistory::Write(
    uint64_t begin, uint64_t end, const Actor& actor,
    const VectorClock& clock) {
  std::optional<Race> race;
  const Map::iterator first = SplitAt(begin);
  const Map::iterator last = SplitAt(end);
  for (Map::iterator it = first; it != last && !race.has_value(); ++it) {
    const Interval& interval = it->second;
    if (!HappensBefore(interval.writer, clock)) {
      race = Race{it->first, interval.end, interval.writer, true};
    }
    for (const Actor& reader : interval.readers) {
      if (race.has_value()) break;
      if (!HappensBefore(reader, clock)) {
        race = Race{it->first, interval.end, reader, false};
      }
    }
  }
  // The intervals become one.
  first->second.end = end;
  first->second.writer = actor;
  first->second.readers.clear();
  intervals_.erase(std::next(first), last);
  return race;
}

std::vector<AccessHistory::Written> AccessHistory::Writers(uint64_t begin,
                                                           uint64_t end) const {
  std::vector<Written> writers;
  for (Map::const_iterator it = std::prev(intervals_.upper_bound(begin));
       it != intervals_.end() && it->first < end; ++it) {
    writers.push_back({std::max(begin, it->first),
                       std::min(end, it->second.end), it->second.writer});
  }
  return writers;
}

}  // namespace mkvm::vm
