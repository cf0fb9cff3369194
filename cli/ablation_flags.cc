#include "cli/ablation_flags.h"

#include <limits>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace mkvm::cli {
namespace {

struct Switch {
  const char* name;
  bool AblationFlags::*on;
  bool of_machine;
};
constexpr Switch kSwitches[] = {
    {"no_prefetch", &AblationFlags::no_prefetch, true},
    {"launch_per_pass", &AblationFlags::launch_per_pass, true},
    {"launch_per_op", &AblationFlags::launch_per_op, true},
    {"no_fuse", &AblationFlags::no_fuse, false},
    {"no_split_kv", &AblationFlags::no_split_kv, false},
    {"no_attend_alone", &AblationFlags::no_attend_alone, false},
    {"nops", &AblationFlags::nops, false},
};
constexpr char kFetchDepth[] = "fetch_depth";

// Of those that are on, in a fixed order.
std::vector<std::string> Names(const AblationFlags& flags, bool of_machine) {
  std::vector<std::string> names;
  for (const Switch& s : kSwitches) {
    if (flags.*s.on && s.of_machine == of_machine) names.emplace_back(s.name);
  }
  if (of_machine && flags.fetch_depth) {
    names.push_back(absl::StrCat(kFetchDepth, "=", *flags.fetch_depth));
  }
  return names;
}

}  // namespace

void AblationFlags::AddTo(Flags& flags) {
  flags.Add("no_prefetch", &no_prefetch,
            "ablation: request an instruction's weights when the one before\n"
            "is done (GPU)");
  flags.Add("fetch_depth", &fetch_depth, "N",
            "ablation: instructions fetched ahead of the one that is done\n"
            "next; 1: none (GPU; all slots, 8)");
  flags.Add("launch_per_pass", &launch_per_pass,
            "ablation: one kernel launch per pass, not one for all (GPU)");
  flags.Add("launch_per_op", &launch_per_op,
            "ablation: one kernel launch per op, in a CUDA graph per pass\n"
            "(GPU)");
  flags.Add("no_fuse", &no_fuse,
            "ablation: compile with one op per instruction");
  flags.Add("no_split_kv", &no_split_kv,
            "ablation: compile with one attention worker per kv head");
  flags.Add("no_attend_alone", &no_attend_alone,
            "ablation: compile with several of them, and a merge, while the\n"
            "context is short too");
  flags.Add("nops", &nops,
            "ablation: compile with a nop before every instruction, to see\n"
            "what interpreting one costs");
}

absl::Status AblationFlags::Check(absl::string_view program) const {
  if (fetch_depth && (*fetch_depth < 1 ||
                      *fetch_depth > std::numeric_limits<int32_t>::max())) {
    return UsageError("--fetch_depth is not above 0, or is out of range");
  }
  if (launch_per_pass && launch_per_op) {
    return UsageError(
        "--launch_per_pass and --launch_per_op: a run has one of them at most");
  }
  const std::vector<std::string> names = Names(*this, false);
  if (!program.empty() && !names.empty()) {
    return UsageError(absl::StrCat("--", names.front(), ": ", program,
                                   " is compiled already; give it to mkvm "
                                   "compile, or leave the program out"));
  }
  return absl::OkStatus();
}

absl::Status AblationFlags::ApplyTo(Device& device) const {
  if (!device.gpu) {
    const std::vector<std::string> names = Names(*this, true);
    if (names.empty()) return absl::OkStatus();
    return UsageError(absl::StrCat(
        "--", names.front(),
        ": the CPU machine has nothing of the kind to switch off; it is for "
        "GPUs (--device cuda)"));
  }
  device.ablations.no_prefetch = no_prefetch;
  device.ablations.fetch_depth.reset();
  if (fetch_depth) {
    device.ablations.fetch_depth = static_cast<uint32_t>(*fetch_depth);
  }
  device.ablations.launch_per_pass = launch_per_pass;
  device.ablations.launch_per_op = launch_per_op;
  return absl::OkStatus();
}

void AblationFlags::ApplyTo(scheduler::CompileOptions& options) const {
  options.fuse = !no_fuse;
  options.split_kv = !no_split_kv;
  options.attend_alone = !no_attend_alone;
  options.nops = nops;
}

bool AblationFlags::OfMachine() const { return !Names(*this, true).empty(); }

std::string AblationFlags::Name() const {
  std::vector<std::string> names = Names(*this, true);
  for (std::string& name : Names(*this, false)) {
    names.push_back(std::move(name));
  }
  return names.empty() ? "none" : absl::StrJoin(names, "+");
}

absl::StatusOr<AblationFlags> ParseAblation(absl::string_view name,
                                            absl::string_view flag) {
  AblationFlags flags;
  if (name == "none") return flags;
  for (const absl::string_view part : absl::StrSplit(name, '+')) {
    bool known = false;
    for (const Switch& s : kSwitches) {
      if (part != s.name) continue;
      flags.*s.on = true;
      known = true;
    }
    absl::string_view rest = part;
    if (absl::ConsumePrefix(&rest, kFetchDepth)) {
      int64_t depth = 0;
      known = absl::ConsumePrefix(&rest, "=") && absl::SimpleAtoi(rest, &depth);
      flags.fetch_depth = depth;
    }
    if (known) continue;
    return UsageError(absl::StrCat(
        flag, ": \"", part,
        "\" is not none, no_prefetch, fetch_depth=N, launch_per_pass, "
        "launch_per_op, no_fuse, no_split_kv, no_attend_alone or nops"));
  }
  return flags;
}

}  // namespace mkvm::cli
