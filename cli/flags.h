// The options of one verb: a table of names, places and help texts.
//
// absl::flags is not used here: it can't do what the command line promises.
// Its flags are global to the process, so that every verb would accept every
// other verb's; it has no short forms (`-n 64`, `-o FILE`), no repeated flags
// (`--bind a=a.npy --bind b=b.npy`), and it ends the process itself on an
// unknown one, with its own exit code and wording.
#ifndef MKVM_CLI_FLAGS_H_
#define MKVM_CLI_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace mkvm::cli {

// A mistake on the command line, as opposed to a run that failed: the process
// exits with 2 instead of 1.
absl::Status UsageError(absl::string_view message);
bool IsUsageError(const absl::Status& status);

class Flags {
 public:
  // `usage`: the line after "mkvm ", e.g. "dis PROGRAM [-o FILE]". `about`:
  // what the verb does, a sentence or a few lines.
  Flags(absl::string_view usage, absl::string_view about);

  // Declares --name; after a comma more names of the same flag: -c and --other
  // for "name,c,other". `value_name` stands for the value in the help; `help`
  // ends with the default where there is one. The place keeps its value when
  // the flag is absent. Dashes and underscores in names are the same on the
  // command line.
  void Add(absl::string_view name, bool* place, absl::string_view help);
  void Add(absl::string_view name, std::string* place,
           absl::string_view value_name, absl::string_view help);
  void Add(absl::string_view name, std::optional<int64_t>* place,
           absl::string_view value_name, absl::string_view help);
  void Add(absl::string_view name, std::optional<double>* place,
           absl::string_view value_name, absl::string_view help);
  // May be repeated.
  void Add(absl::string_view name, std::vector<std::string>* place,
           absl::string_view value_name, absl::string_view help);

  // Fills the places and returns the positional arguments ("-" is one; after
  // "--" everything is). Accepts --name value, --name=value, -n value. Errors
  // are usage errors: an unknown flag (naming the nearest), a missing or
  // malformed value, fewer or more positionals than given here.
  absl::StatusOr<std::vector<std::string>> Parse(
      absl::Span<const std::string> args, size_t min_positionals,
      size_t max_positionals);

  // True when --help or -h was given; the places may then be half filled.
  bool help_wanted() const { return help_wanted_; }
  std::string HelpText() const;

 private:
  using Place = std::variant<bool*, std::string*, std::optional<int64_t>*,
                             std::optional<double>*, std::vector<std::string>*>;
  struct Flag {
    std::string name;
    std::vector<std::string> aliases;  // of one letter: with one dash
    Place place;
    std::string value_name;
    std::string help;
  };

  void AddFlag(absl::string_view name, Place place,
               absl::string_view value_name, absl::string_view help);
  absl::StatusOr<Flag*> Find(absl::string_view argument);
  static absl::Status Store(const Flag& flag, const std::string& value);

  std::string usage_;
  std::string about_;
  std::vector<Flag> flags_;
  bool help_wanted_ = false;
};

// The candidate with the smallest edit distance to `name`, or "" when none is
// close enough to be what was meant.
std::string NearestName(absl::string_view name,
                        absl::Span<const std::string> candidates);

// "1,2,3" (or separated by spaces and newlines) as token ids.
absl::StatusOr<std::vector<int32_t>> ParseIds(absl::string_view text,
                                              absl::string_view what);

}  // namespace mkvm::cli

#endif  // MKVM_CLI_FLAGS_H_
