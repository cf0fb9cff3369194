#include "isa/happens_before.h"

#include <algorithm>
#include <memory>

namespace mkvm::isa {
namespace {

constexpr uint32_t kPasses = 2;

bool IsRelease(const Instruction& i) { return i.flags & kFlagRelease; }

}  // namespace

struct HappensBefore::Join {
  uint32_t missing = 0;  // contributions still to come
  uint32_t readers = 0;  // who will still look at the clocks
  // Relation by relation, `workers` entries each; there while needed.
  std::unique_ptr<uint32_t[]> clocks;
  std::vector<uint32_t> blocked;  // workers
};

HappensBefore::~HappensBefore() = default;

HappensBefore::HappensBefore(const Program& program, const Dataflow& flow,
                             const Dataflow& next)
    : program_(program),
      flows_{&flow, &next},
      workers_(program.queues.size()),
      next_(workers_, 0),
      counters_(kPasses * program.counters.size()),
      regions_(flow.regions.size() + next.regions.size()) {
  for (const auto& queue : program.queues) {
    length_.push_back(static_cast<uint32_t>(queue.size()));
  }
  for (auto& clocks : clocks_) clocks.assign(workers_ * workers_, 0);
  for (uint32_t i = 0; i < flow.places.size(); ++i) {
    const Place place = flow.places[i];
    const Instruction& instruction = program.queues[place.worker][place.pc];
    for (uint32_t pass = 0; pass < kPasses; ++pass) {
      ForEachObstacle(place, pass, [&](const Obstacle& obstacle, bool) {
        ++JoinOf(obstacle).readers;
      });
      if (instruction.signal != kNoCounter) {
        ++JoinOf({true, instruction.signal, pass}).missing;
      }
      for (const Lists* feeds :
           {&Flow(pass).feeds_wholly, &Flow(pass).feeds_partly}) {
        for (uint32_t region : (*feeds)[i]) {
          ++JoinOf({false, region, pass}).missing;
        }
      }
    }
  }
}

HappensBefore::Join& HappensBefore::JoinOf(const Obstacle& obstacle) {
  return obstacle.is_counter
             ? counters_[obstacle.pass * program_.counters.size() +
                         obstacle.index]
             : regions_[obstacle.pass * Flow(0).regions.size() +
                        obstacle.index];
}

const HappensBefore::Join& HappensBefore::JoinOf(
    const Obstacle& obstacle) const {
  return const_cast<HappensBefore*>(this)->JoinOf(obstacle);
}

template <typename Fn>
void HappensBefore::ForEachObstacle(Place place, uint32_t pass, Fn fn) const {
  const Instruction& i = program_.queues[place.worker][place.pc];
  for (int k = 0; k < i.num_waits; ++k) {
    const bool lagged = i.WaitIsLagged(k);
    if (lagged && pass == 0) continue;
    fn(Obstacle{true, i.waits[k].counter, lagged ? pass - 1 : pass},
       i.WaitIsTagged(k));
  }
  const Dataflow& flow = Flow(pass);
  for (const Lists* polls : {&flow.polls, &flow.polls_some}) {
    for (uint32_t region : (*polls)[flow.IndexOf(place)]) {
      fn(Obstacle{false, region, pass}, false);
    }
  }
}

bool HappensBefore::Run(
    const std::function<void(Place place, uint32_t pass)>& visit) {
  for (uint32_t w = 0; w < workers_; ++w) {
    ready_.push_back(static_cast<uint32_t>(workers_ - 1 - w));
  }
  while (!ready_.empty()) {
    const uint32_t w = ready_.back();
    ready_.pop_back();
    while (next_[w] < kPasses * length_[w]) {
      const uint32_t pass = next_[w] / length_[w];
      const Place place = PlaceOfStep(w, next_[w]);
      if (IsBlocked(place, pass, w)) break;
      Begin(place, pass);
      visit(place, pass);
      End(place, pass);
    }
  }
  for (size_t w = 0; w < workers_; ++w) {
    if (next_[w] < kPasses * length_[w]) return false;
  }
  return true;
}

bool HappensBefore::IsBlocked(Place place, uint32_t pass, uint32_t worker) {
  Join* obstacle = nullptr;
  ForEachObstacle(place, pass, [&](const Obstacle& o, bool) {
    Join& join = JoinOf(o);
    if (join.missing > 0) obstacle = &join;
  });
  if (obstacle == nullptr) return false;
  obstacle->blocked.push_back(worker);
  return true;
}

// What the worker knows before the instruction writes anything: what its waits
// bring. It may publish an element as soon as that one's own inputs are there,
// unless it writes last.
void HappensBefore::Begin(Place place, uint32_t pass) {
  const uint32_t w = place.worker;
  const Instruction& i = program_.queues[w][place.pc];
  for (int k = 0; k < i.num_waits; ++k) {
    const bool lagged = i.WaitIsLagged(k);
    if (lagged && pass == 0) continue;
    Join& join = JoinOf({true, i.waits[k].counter, lagged ? pass - 1 : pass});
    Acquire(join, Relation::kDeclared, w);
    // A tagged wait may be left to the polls, so it declares order only.
    if (!i.WaitIsTagged(k)) {
      Acquire(join, Relation::kOrdered, w);
      Acquire(join, Relation::kVisible, w);
    }
    Leave(join);
  }
  if (!WritesLast(static_cast<Opcode>(i.opcode))) return;
  const Dataflow& flow = Flow(pass);
  for (uint32_t region : flow.polls[flow.IndexOf(place)]) {
    Acquire(JoinOf({false, region, pass}), Relation::kOrdered, w);
  }
}

// What it hands on: to those who poll a part of its results, what it knew
// before; to those who poll all of them or wait for its signal, and to its
// successor, everything, itself included.
void HappensBefore::End(Place place, uint32_t pass) {
  const uint32_t w = place.worker;
  const Dataflow& flow = Flow(pass);
  const uint32_t index = flow.IndexOf(place);
  for (uint32_t region : flow.feeds_partly[index]) {
    Join& join = JoinOf({false, region, pass});
    Contribute(join, Relation::kOrdered, w);
    Arrive(join);
  }
  // Polls bring no order that the waits have not declared. At the end, all that
  // an operand names has been there, unless only some of it was looked at.
  for (uint32_t region : flow.polls[index]) {
    Join& join = JoinOf({false, region, pass});
    Acquire(join, Relation::kOrdered, w);
    Leave(join);
  }
  for (uint32_t region : flow.polls_some[index]) {
    Leave(JoinOf({false, region, pass}));
  }
  ++next_[w];
  for (const Relation relation :
       {Relation::kDeclared, Relation::kOrdered, Relation::kVisible}) {
    Clock(relation, w)[w] = next_[w];
  }
  for (uint32_t region : flow.feeds_wholly[index]) {
    Join& join = JoinOf({false, region, pass});
    Contribute(join, Relation::kOrdered, w);
    Arrive(join);
  }
  const Instruction& i = program_.queues[w][place.pc];
  if (i.signal == kNoCounter) return;
  Join& join = JoinOf({true, i.signal, pass});
  if (join.readers > 0) {
    Contribute(join, Relation::kDeclared, w);
    Contribute(join, Relation::kOrdered, w);
    if (IsRelease(i)) Contribute(join, Relation::kVisible, w);
  }
  Arrive(join);
}

void HappensBefore::Acquire(const Join& join, Relation relation,
                            uint32_t worker) {
  if (join.clocks == nullptr) return;
  uint32_t* to = Clock(relation, worker);
  const uint32_t* from =
      join.clocks.get() + static_cast<size_t>(relation) * workers_;
  for (size_t w = 0; w < workers_; ++w) to[w] = std::max(to[w], from[w]);
}

void HappensBefore::Contribute(Join& join, Relation relation, uint32_t worker) {
  if (join.clocks == nullptr) {
    join.clocks = std::make_unique<uint32_t[]>(kNumRelations * workers_);
  }
  uint32_t* to = join.clocks.get() + static_cast<size_t>(relation) * workers_;
  const uint32_t* from = Clock(relation, worker);
  for (size_t w = 0; w < workers_; ++w) to[w] = std::max(to[w], from[w]);
}

void HappensBefore::Arrive(Join& join) {
  if (--join.missing > 0) return;
  ready_.insert(ready_.end(), join.blocked.begin(), join.blocked.end());
  join.blocked.clear();
}

void HappensBefore::Leave(Join& join) {
  if (--join.readers == 0) join.clocks.reset();
}

Place HappensBefore::MissingProducer(const Obstacle& obstacle) const {
  const Dataflow& flow = Flow(obstacle.pass);
  const Frontier& producers = obstacle.is_counter
                                  ? flow.producers[obstacle.index]
                                  : flow.regions[obstacle.index].writers;
  for (const Place& producer : producers) {
    if (next_[producer.worker] <= Step(producer, obstacle.pass)) {
      return producer;
    }
  }
  return producers.front();  // not reached: an obstacle lacks a producer
}

std::vector<StuckStep> HappensBefore::FindCircle() const {
  uint32_t w = 0;
  while (w < workers_ && next_[w] == kPasses * length_[w]) ++w;
  std::vector<StuckStep> trail;
  std::vector<size_t> visited(workers_, 0);  // 1 + position in the trail
  while (w < workers_ && visited[w] == 0) {
    StuckStep stuck{PlaceOfStep(w, next_[w]), next_[w] / length_[w], {}};
    ForEachObstacle(stuck.place, stuck.pass, [&](const Obstacle& o, bool) {
      if (JoinOf(o).missing > 0) stuck.obstacle = o;
    });
    trail.push_back(stuck);
    visited[w] = trail.size();
    w = MissingProducer(stuck.obstacle).worker;
  }
  if (w < workers_) trail.erase(trail.begin(), trail.begin() + visited[w] - 1);
  return trail;
}

}  // namespace mkvm::isa
