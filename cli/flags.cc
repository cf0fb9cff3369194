#include "cli/flags.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace mkvm::cli {
namespace {

constexpr absl::string_view kUsagePayload = "mkvm/usage";

size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string Canonical(absl::string_view name) {
  return absl::StrReplaceAll(name, {{"-", "_"}});
}

}  // namespace

absl::Status UsageError(absl::string_view message) {
  absl::Status status = absl::InvalidArgumentError(message);
  status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}

bool IsUsageError(const absl::Status& status) {
  return status.GetPayload(kUsagePayload).has_value();
}

std::string NearestName(absl::string_view name,
                        absl::Span<const std::string> candidates) {
  std::string nearest;
  // Further away than this it was not a slip.
  size_t best = std::max<size_t>(2, name.size() / 2) + 1;
  for (const std::string& candidate : candidates) {
    const size_t distance = EditDistance(name, candidate);
    if (distance < best) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

absl::StatusOr<std::vector<int32_t>> ParseIds(absl::string_view text,
                                              absl::string_view what) {
  std::vector<int32_t> ids;
  for (absl::string_view piece :
       absl::StrSplit(text, absl::ByAnyChar(", \t\r\n"), absl::SkipEmpty())) {
    int32_t id;
    if (!absl::SimpleAtoi(piece, &id) || id < 0) {
      return UsageError(
          absl::StrCat(what, ": \"", piece, "\" is not a token id"));
    }
    ids.push_back(id);
  }
  return ids;
}

Flags::Flags(absl::string_view usage, absl::string_view about)
    : usage_(usage), about_(about) {}

void Flags::Add(absl::string_view name, bool* place, absl::string_view help) {
  AddFlag(name, place, "", help);
}
void Flags::Add(absl::string_view name, std::string* place,
                absl::string_view value_name, absl::string_view help) {
  AddFlag(name, place, value_name, help);
}
void Flags::Add(absl::string_view name, std::optional<int64_t>* place,
                absl::string_view value_name, absl::string_view help) {
  AddFlag(name, place, value_name, help);
}
void Flags::Add(absl::string_view name, std::optional<double>* place,
                absl::string_view value_name, absl::string_view help) {
  AddFlag(name, place, value_name, help);
}
void Flags::Add(absl::string_view name, std::vector<std::string>* place,
                absl::string_view value_name, absl::string_view help) {
  AddFlag(name, place, value_name, help);
}

void Flags::AddFlag(absl::string_view name, Place place,
                    absl::string_view value_name, absl::string_view help) {
  std::vector<std::string> names = absl::StrSplit(name, ',');
  std::string first = std::move(names.front());
  names.erase(names.begin());
  flags_.push_back({std::move(first), std::move(names), place,
                    std::string(value_name), std::string(help)});
}

absl::StatusOr<Flags::Flag*> Flags::Find(absl::string_view argument) {
  absl::string_view name = argument;
  const bool is_long = absl::ConsumePrefix(&name, "--");
  if (!is_long) absl::ConsumePrefix(&name, "-");
  const std::string canonical = Canonical(name);
  std::vector<std::string> candidates = {"help"};
  for (Flag& flag : flags_) {
    // A one-letter long name, as in --n, is harmless.
    if (is_long && flag.name == canonical) return &flag;
    candidates.push_back(flag.name);
    for (const std::string& alias : flag.aliases) {
      const bool is_letter = alias.size() == 1;
      if ((is_letter || is_long) && alias == canonical) return &flag;
      if (!is_letter) candidates.push_back(alias);
    }
  }
  const std::string nearest = NearestName(canonical, candidates);
  const absl::string_view verb =
      absl::string_view(usage_).substr(0, usage_.find(' '));
  return UsageError(absl::StrCat(
      "unknown flag \"", argument, "\"",
      nearest.empty() ? "" : absl::StrCat("; did you mean --", nearest, "?"),
      " (mkvm ", verb, " --help lists them)"));
}

absl::Status Flags::Store(const Flag& flag, const std::string& value) {
  const auto bad = [&](absl::string_view wanted) {
    return UsageError(
        absl::StrFormat("--%s: \"%s\" is not %s", flag.name, value, wanted));
  };
  if (auto* text = std::get_if<std::string*>(&flag.place)) {
    **text = value;
  } else if (auto* list = std::get_if<std::vector<std::string>*>(&flag.place)) {
    (*list)->push_back(value);
  } else if (auto* integer =
                 std::get_if<std::optional<int64_t>*>(&flag.place)) {
    int64_t parsed;
    if (!absl::SimpleAtoi(value, &parsed)) return bad("a whole number");
    **integer = parsed;
  } else if (auto* real = std::get_if<std::optional<double>*>(&flag.place)) {
    double parsed;
    if (!absl::SimpleAtod(value, &parsed)) return bad("a number");
    **real = parsed;
  } else {
    bool parsed;
    if (!absl::SimpleAtob(value, &parsed)) return bad("true or false");
    *std::get<bool*>(flag.place) = parsed;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> Flags::Parse(
    absl::Span<const std::string> args, size_t min_positionals,
    size_t max_positionals) {
  std::vector<std::string> positionals;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg == "--") {
      positionals.insert(positionals.end(), args.begin() + i + 1, args.end());
      break;
    }
    if (arg.size() < 2 || arg[0] != '-') {
      positionals.push_back(arg);
      continue;
    }
    if (arg == "--help" || arg == "-h") {
      help_wanted_ = true;
      return positionals;
    }
    const size_t equals = arg.find('=');
    absl::StatusOr<Flag*> flag = Find(arg.substr(0, equals));
    if (!flag.ok()) return flag.status();
    std::string value = "true";
    if (equals != std::string::npos) {
      value = arg.substr(equals + 1);
    } else if (!std::holds_alternative<bool*>((*flag)->place)) {
      if (++i == args.size()) {
        return UsageError(absl::StrCat(arg, " needs a value: ", arg, " ",
                                       (*flag)->value_name));
      }
      value = args[i];
    }
    if (absl::Status s = Store(**flag, value); !s.ok()) return s;
  }
  if (positionals.size() < min_positionals ||
      positionals.size() > max_positionals) {
    return UsageError(
        absl::StrFormat("%s; usage: mkvm %s",
                        positionals.size() < min_positionals
                            ? std::string("an argument is missing")
                            : absl::StrCat("unexpected argument \"",
                                           positionals[max_positionals], "\""),
                        usage_));
  }
  return positionals;
}

std::string Flags::HelpText() const {
  std::string text = absl::StrCat("usage: mkvm ", usage_, "\n\n", about_, "\n");
  if (flags_.empty()) return text;
  absl::StrAppend(&text, "\n");
  for (const Flag& flag : flags_) {
    std::string left = absl::StrCat("  --", flag.name);
    for (const std::string& alias : flag.aliases) {
      absl::StrAppend(&left, alias.size() == 1 ? ", -" : ", --", alias);
    }
    if (!flag.value_name.empty()) absl::StrAppend(&left, " ", flag.value_name);
    // Long left sides get a line of their own.
    if (left.size() > 27) {
      absl::StrAppend(&text, left, "\n", std::string(29, ' '));
    } else {
      absl::StrAppendFormat(&text, "%-29s", left);
    }
    absl::StrAppend(
        &text,
        absl::StrReplaceAll(flag.help,
                            {{"\n", absl::StrCat("\n", std::string(29, ' '))}}),
        "\n");
  }
  return text;
}

}  // namespace mkvm::cli
