#include "isa/verifier_order.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "isa/happens_before.h"

namespace mkvm::isa {
namespace {

// Checks each instruction as HappensBefore visits it. Every check asks whether
// an earlier access comes before the visited one, so one direction suffices:
// of two conflicting accesses, the later visited asks for the earlier.
class OrderChecker {
 public:
  OrderChecker(const Program& program, const Dataflow& flow,
               const Dataflow& next, const HappensBefore& order, Report& report)
      : program_(program),
        flow_(flow),
        next_(next),
        order_(order),
        report_(report),
        touched_(flow.state_regions.size()) {
    ListWaiters();
    ListStopWriters();
  }

  void Visit(Place place, uint32_t pass) {
    if (report_.full()) return;
    place_ = place;
    pass_ = pass;
    const Instruction& i = program_.queues[place.worker][place.pc];
    const uint32_t index = flow_.IndexOf(place);
    const Dataflow& flow = pass == 0 ? flow_ : next_;
    for (uint32_t a = flow_.first_access[index];
         a < flow_.first_access[index + 1]; ++a) {
      if (!flow.Happens(a)) continue;
      // What holds within pass 0 holds within every pass; what holds between
      // passes 0 and 1, between any pass and the next.
      if (flow.region_of[a] != Dataflow::kNone) {
        if (pass == 0) {
          CheckRead(a, i.OperandIsPolled(flow_.accesses[a].operand));
        }
      } else if (flow_.state_region_of[a] != Dataflow::kNone) {
        CheckState(a);
      } else if (pass == 1 && flow_.accesses[a].kind == AccessKind::kWrite) {
        CheckOverwrite(a);
        CheckSuccession(a);
      }
    }
    // Recorded only now, so that an instruction does not race with itself.
    for (uint32_t a = flow_.first_access[index];
         a < flow_.first_access[index + 1]; ++a) {
      if (flow.Happens(a) && flow_.state_region_of[a] != Dataflow::kNone) {
        RecordState(a);
      }
    }
    if (pass == 1 && i.signal != kNoCounter) CheckLap(i.signal);
    if (pass == 0 && i.opcode == static_cast<uint16_t>(Opcode::kHalt)) {
      CheckStop();
    }
  }

 private:
  // The last steps of one worker that touched a state region, plus one.
  struct Touch {
    uint32_t worker;
    uint32_t reads;
    uint32_t writes;
  };

  bool Before(Relation relation, Place earlier, uint32_t pass) const {
    return order_.Before(relation, earlier, pass, place_.worker);
  }

  void CheckRead(uint32_t a, bool polled) {
    const Dataflow::Region& region = flow_.regions[flow_.region_of[a]];
    const Relation needed = polled ? Relation::kDeclared : Relation::kVisible;
    for (const Place& writer : region.writers) {
      if (Before(needed, writer, 0)) continue;
      ReadBeforeWrite(a, polled, region, writer);
      return;
    }
  }

  // The write of `region` by `writer`, whose place is in the frontier.
  const Access& WriteBy(const Dataflow::Region& region, Place writer) const {
    const uint32_t index = flow_.IndexOf(writer);
    uint32_t k = region.first_write;
    while (flow_.instruction_of[flow_.writes[k]] != index) ++k;
    return flow_.accesses[flow_.writes[k]];
  }

  void ReadBeforeWrite(uint32_t a, bool polled, const Dataflow::Region& region,
                       Place writer) {
    const Access& access = flow_.accesses[a];
    const Access& write = WriteBy(region, writer);
    const std::string part = report_.Name(
        access.buffer, std::max(access.begin, write.begin),
        std::min(access.begin + access.count, write.begin + write.count));
    const std::string writes =
        absl::StrCat("note: ", part, " is written by ", report_.Name(writer));
    const std::string read = report_.Name(access);
    if (polled) {
      report_.Add(place_,
                  absl::StrCat("polls ", read,
                               ", but no chain of waits orders it after the "
                               "write of ",
                               part),
                  {writes, report_.WaitForIt(writer, false)});
    } else if (Before(Relation::kDeclared, writer, 0)) {
      report_.Add(
          place_,
          absl::StrCat("reads ", read,
                       " without polling, but only tagged data or signals "
                       "without release order it after the write of ",
                       part),
          {writes,
           "mend: poll the operand, or let that instruction signal with "
           "release and wait for it untagged"});
    } else {
      report_.Add(
          place_,
          absl::StrCat("reads ", read,
                       ", but nothing orders it after the write of ", part),
          {writes, report_.WaitForIt(writer, false)});
    }
  }

  // A write of this pass against the reads of the pass before.
  void CheckOverwrite(uint32_t a) {
    if (&flow_ == &next_) {
      for (uint32_t r : flow_.regions_written[a]) {
        if (!CheckOverwriteOf(flow_.regions[r], flow_.accesses[a])) return;
      }
      return;
    }
    const Access& access = flow_.accesses[a];
    const uint32_t end = flow_.first_region[access.buffer + 1];
    for (uint32_t r = flow_.first_region[access.buffer]; r < end; ++r) {
      const Dataflow::Region& region = flow_.regions[r];
      if (region.begin >= access.begin + access.count) return;
      if (region.end <= access.begin) continue;
      if (!CheckOverwriteOf(region, access)) return;
    }
  }

  bool CheckOverwriteOf(const Dataflow::Region& region, const Access& access) {
    for (const Place& reader : region.readers) {
      if (Before(Relation::kOrdered, reader, 0)) continue;
      const std::string part =
          report_.Name(access.buffer, std::max(access.begin, region.begin),
                       std::min(access.begin + access.count, region.end));
      report_.Add(
          place_,
          absl::StrCat("writes ", report_.Name(access),
                       ", but nothing orders it after the read of ", part,
                       " in the pass before"),
          {absl::StrCat("note: ", part, " is read by ", report_.Name(reader)),
           report_.WaitForIt(reader, true)});
      return false;
    }
    return true;
  }

  // A write of this pass against those of the pass before. In passes of one
  // kind it is one instruction that writes the element, in order with itself.
  void CheckSuccession(uint32_t a) {
    if (&flow_ == &next_) return;
    const Access& access = flow_.accesses[a];
    const auto [first, last] = flow_.WritesOf(access.buffer, access.begin,
                                              access.begin + access.count);
    for (uint32_t k = first; k < last; ++k) {
      const uint32_t b = flow_.writes[k];
      const Place writer = flow_.places[flow_.instruction_of[b]];
      if (writer == place_ || Before(Relation::kVisible, writer, 0)) continue;
      const Access& earlier = flow_.accesses[b];
      const uint64_t begin = std::max(access.begin, earlier.begin);
      const uint64_t end =
          std::min(access.begin + access.count, earlier.begin + earlier.count);
      if (IsReadWhole(access.buffer, begin, end)) continue;
      const std::string part = report_.Name(access.buffer, begin, end);
      report_.Add(place_,
                  absl::StrCat("writes ", report_.Name(access),
                               ", but nothing orders it after the write of ",
                               part, " in the pass before"),
                  {absl::StrCat("note: ", part, " is written by ",
                                report_.Name(writer)),
                   report_.WaitForIt(writer, true)});
      return;
    }
  }

  // Whether one instruction of the first pass reads all of it. What that one
  // has read is written, and CheckOverwrite has it come before later writes.
  bool IsReadWhole(uint32_t buffer, uint64_t begin, uint64_t end) const {
    return std::any_of(flow_.regions.begin() + flow_.first_region[buffer],
                       flow_.regions.begin() + flow_.first_region[buffer + 1],
                       [&](const Dataflow::Region& region) {
                         return region.read_whole && region.begin <= begin &&
                                region.end >= end;
                       });
  }

  // A state access against what was touched in this pass and the one before.
  void CheckState(uint32_t a) {
    const Access& access = flow_.accesses[a];
    const bool writes = access.kind != AccessKind::kRead;
    for (uint32_t r : flow_.overlapping[flow_.state_region_of[a]]) {
      for (const Touch& touch : touched_[r]) {
        if (touch.writes > 0 &&
            !order_.StepBefore(Relation::kVisible, touch.worker,
                               touch.writes - 1, place_.worker)) {
          StateRace(access, r, touch.worker, touch.writes - 1, true);
          return;
        }
        if (writes && touch.reads > 0 &&
            !order_.StepBefore(Relation::kOrdered, touch.worker,
                               touch.reads - 1, place_.worker)) {
          StateRace(access, r, touch.worker, touch.reads - 1, false);
          return;
        }
      }
    }
  }

  void RecordState(uint32_t a) {
    std::vector<Touch>& touched = touched_[flow_.state_region_of[a]];
    const auto touch =
        std::find_if(touched.begin(), touched.end(),
                     [&](const Touch& t) { return t.worker == place_.worker; });
    Touch& mine = touch != touched.end()
                      ? *touch
                      : touched.emplace_back(Touch{place_.worker, 0, 0});
    const uint32_t step = order_.Step(place_, pass_) + 1;
    if (flow_.accesses[a].kind == AccessKind::kRead) {
      mine.reads = step;
    } else {
      mine.writes = step;
    }
  }

  void StateRace(const Access& access, uint32_t r, uint32_t worker,
                 uint32_t step, bool other_writes) {
    const Dataflow::StateRegion& region = flow_.state_regions[r];
    const Place other = order_.PlaceOfStep(worker, step);
    const uint32_t other_pass = step == order_.Step(other, 0) ? 0 : 1;
    struct Side {
      Place place;
      bool writes;
      std::string region;
    };
    Side later{place_, access.kind != AccessKind::kRead, report_.Name(access)};
    Side earlier{other, other_writes,
                 report_.Name(region.buffer, region.begin, region.end)};
    const bool declared =
        order_.StepBefore(Relation::kDeclared, worker, step, place_.worker);
    // The visits may have come upon the later pass first.
    if (other_pass > pass_) std::swap(later, earlier);
    if (!IsFirstRace(later.place, access.buffer)) return;
    const absl::string_view what = earlier.writes ? "write" : "read";
    report_.Add(
        later.place,
        absl::StrCat(
            later.writes ? "writes " : "reads ", later.region, ", but ",
            declared ? "only tagged data or signals without release order"
                     : "nothing orders",
            " it after the ", what, " of ", earlier.region,
            other_pass == pass_ ? " in this pass" : " in the pass before"),
        {absl::StrCat("note: the ", what, " is by ",
                      report_.Name(earlier.place)),
         declared ? "mend: let that instruction signal with release and wait "
                    "for it untagged"
                  : report_.WaitForIt(earlier.place, other_pass != pass_)});
  }

  // One diagnostic per instruction and buffer, not one per pass and pair.
  bool IsFirstRace(Place place, uint32_t buffer) {
    const auto race = std::make_pair(flow_.IndexOf(place), buffer);
    if (std::find(raced_.begin(), raced_.end(), race) != raced_.end()) {
      return false;
    }
    raced_.push_back(race);
    return true;
  }

  void ListWaiters() {
    is_waited_.assign(program_.counters.size(), false);
    counting_.resize(program_.counters.size());
    for (const Place& place : flow_.places) {
      const Instruction& i = program_.queues[place.worker][place.pc];
      for (int k = 0; k < i.num_waits; ++k) {
        const uint32_t counter = i.waits[k].counter;
        is_waited_[counter] = true;
        if (i.WaitIsTagged(k)) continue;
        counting_[counter].push_back({place, i.WaitIsLagged(k) ? 1u : 0u});
      }
    }
  }

  // Counters are never reset, so a count stands for all producers of a pass
  // only if none of them can signal the next pass before all have signalled
  // this one.
  void CheckLap(uint32_t counter) {
    if (!is_waited_[counter]) return;
    const bool counted = !counting_[counter].empty();
    const Relation needed = counted ? Relation::kVisible : Relation::kDeclared;
    const auto lapped = std::find_if(
        flow_.producers[counter].begin(), flow_.producers[counter].end(),
        [&](Place producer) { return !Before(needed, producer, 0); });
    if (lapped == flow_.producers[counter].end()) return;
    // Following somebody who has counted them all is as good.
    for (const auto& [waiter, pass] : counting_[counter]) {
      if (Before(Relation::kOrdered, waiter, pass)) return;
    }
    report_.Add(
        place_,
        absl::StrCat("may signal ", report_.CounterName(counter),
                     " for the next pass before all have signalled it for "
                     "this one, so that a waiter miscounts"),
        {absl::StrCat("note: nothing orders it after the signal of ",
                      report_.Name(*lapped)),
         "mend: wait with lag 1 for something that follows the waits for this "
         "counter"});
  }

  void ListStopWriters() {
    const uint32_t stop =
        DecodeOperands<HaltOperands>(program_.queues.front().back()).stop;
    if (stop == kNoBuffer) return;
    for (uint32_t a = 0; a < flow_.accesses.size(); ++a) {
      if (flow_.accesses[a].buffer == stop &&
          flow_.accesses[a].kind == AccessKind::kWrite) {
        stop_writers_.push_back(flow_.places[flow_.instruction_of[a]]);
      }
    }
  }

  // All workers must leave in the same pass.
  void CheckStop() {
    for (const Place& writer : stop_writers_) {
      if (Before(Relation::kVisible, writer, 0)) continue;
      const uint32_t stop = DecodeOperands<HaltOperands>(
                                program_.queues[place_.worker][place_.pc])
                                .stop;
      if (program_.buffers[stop].kind == BufferKind::kActivation) return;
      report_.Add(
          place_,
          absl::StrCat("reads ", program_.buffers[stop].name,
                       " before it is known to be written in this "
                       "pass, so that workers may leave in different "
                       "passes"),
          {absl::StrCat("note: it is written by ", report_.Name(writer)),
           report_.WaitForIt(writer, false)});
      return;
    }
  }

  const Program& program_;
  const Dataflow& flow_;  // of pass 0
  const Dataflow& next_;  // of pass 1
  const HappensBefore& order_;
  Report& report_;
  // By counter: whether somebody waits for it; who does so by counting, not
  // polling, and in which of the two passes for what pass 0 signalled.
  std::vector<bool> is_waited_;
  std::vector<std::vector<std::pair<Place, uint32_t>>> counting_;
  std::vector<Place> stop_writers_;
  std::vector<std::vector<Touch>> touched_;  // by state region
  std::vector<std::pair<uint32_t, uint32_t>> raced_;
  Place place_{};
  uint32_t pass_ = 0;
};

void ReportCircle(const Dataflow& flow, const Dataflow& next,
                  const std::vector<StuckStep>& circle, Report& report) {
  std::vector<std::string> notes;
  for (const StuckStep& stuck : circle) {
    if (notes.size() == 16) {
      notes.push_back(absl::StrCat("note: and ", circle.size() - 16, " more"));
      break;
    }
    const Obstacle& o = stuck.obstacle;
    std::string what;
    if (o.is_counter) {
      what = absl::StrCat("waits for ", report.CounterName(o.index));
    } else {
      const Dataflow::Region& r = (o.pass == 0 ? flow : next).regions[o.index];
      what = absl::StrCat("polls ", report.Name(r.buffer, r.begin, r.end));
    }
    notes.push_back(absl::StrCat("note: ", report.Name(stuck.place), " ", what,
                                 o.pass == stuck.pass ? "" : ", lag 1"));
  }
  report.Add(circle.front().place,
             circle.size() == 1
                 ? std::string("it waits for itself or for what follows it in "
                               "its queue")
                 : absl::StrCat("deadlock: ", circle.size(),
                                " instructions wait in a circle, each for the "
                                "next or for what follows it in its queue"),
             notes);
}

}  // namespace

void CheckOrder(const Program& program, const Dataflow& flow,
                const Dataflow& next, Report& report) {
  HappensBefore order(program, flow, next);
  OrderChecker checker(program, flow, next, order, report);
  const bool finished = order.Run(
      [&](Place place, uint32_t pass) { checker.Visit(place, pass); });
  if (!finished) ReportCircle(flow, next, order.FindCircle(), report);
}

}  // namespace mkvm::isa
