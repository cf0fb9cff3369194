// mkvm detokenize: token ids -> text.
#include <cstdint>
#include <cstdio>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/flags.h"
#include "cli/io.h"
#include "cli/model_folder.h"
#include "cli/verbs.h"
#include "model/tokenizer.h"
#include "nlohmann/json.hpp"

namespace mkvm::cli {
namespace {

struct DetokenizeFlags {
  std::string model;
  std::string file;
  bool skip_special = false;
  bool json = false;
};

Flags MakeFlags(DetokenizeFlags& f) {
  Flags flags("detokenize [IDS|-] [--file FILE] [FLAGS]",
              "Prints the text of token ids, and nothing else. Ids come with "
              "spaces, commas or newlines\nbetween, as a JSON list, or as what "
              "`mkvm tokenize --json` prints. \"-\" reads stdin.");
  flags.Add("model,m", &f.model, "DIR|ORG/NAME|tiny", "as for tokenize");
  flags.Add("file,f", &f.file, "FILE", "the ids");
  flags.Add("skip_special", &f.skip_special,
            "leave out <|im_end|> and the like, but not <think>");
  flags.Add("json", &f.json, "one object: num_tokens, text");
  return flags;
}

// [1, 2] or {"ids": [1, 2], ...}.
absl::StatusOr<std::vector<int32_t>> ParseJsonIds(const std::string& text,
                                                  absl::string_view what) {
  nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_object() && json.contains("ids")) {
    nlohmann::json ids = std::move(json["ids"]);
    json = std::move(ids);
  }
  if (!json.is_array()) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": not a JSON list of ids"));
  }
  std::vector<int32_t> ids;
  for (const nlohmann::json& value : json) {
    const int64_t id =
        value.is_number_integer() ? value.get<int64_t>() : int64_t{-1};
    if (id < 0 || id > std::numeric_limits<int32_t>::max()) {
      return absl::InvalidArgumentError(absl::StrCat(
          what, ": element ", ids.size(), " of the list is not a token id"));
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

absl::StatusOr<std::vector<int32_t>> ReadIds(
    const DetokenizeFlags& f, const std::vector<std::string>& positionals) {
  if (positionals.empty() == f.file.empty()) {
    return UsageError("give either IDS (\"-\" for stdin) or --file FILE");
  }
  const bool is_stdin = positionals.size() == 1 && positionals[0] == "-";
  if (!positionals.empty() && !is_stdin) {
    return ParseIds(absl::StrJoin(positionals, " "), "the ids");
  }
  const std::string path = is_stdin ? "-" : f.file;
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return text.status();
  const std::string what = path == "-" ? "stdin" : path;
  const absl::string_view stripped = absl::StripAsciiWhitespace(*text);
  if (absl::StartsWith(stripped, "[") || absl::StartsWith(stripped, "{")) {
    return ParseJsonIds(*text, what);
  }
  absl::StatusOr<std::vector<int32_t>> ids = ParseIds(*text, what);
  // What a file holds is no mistake on the command line.
  if (!ids.ok()) return absl::InvalidArgumentError(ids.status().message());
  return ids;
}

}  // namespace

absl::Status DetokenizeVerb(Args args) {
  DetokenizeFlags f;
  Flags flags = MakeFlags(f);
  absl::StatusOr<std::vector<std::string>> positionals =
      flags.Parse(args, 0, std::numeric_limits<size_t>::max());
  if (flags.help_wanted()) {
    std::fputs(flags.HelpText().c_str(), stdout);
    return absl::OkStatus();
  }
  if (!positionals.ok()) return positionals.status();
  const absl::StatusOr<std::string> folder = FindModelFolder(f.model);
  if (!folder.ok()) return folder.status();
  const absl::StatusOr<std::vector<int32_t>> ids = ReadIds(f, *positionals);
  if (!ids.ok()) return ids.status();
  const auto tokenizer = model::Tokenizer::Load(*folder);
  if (!tokenizer.ok()) return tokenizer.status();
  absl::StatusOr<std::string> text = tokenizer->Decode(*ids, f.skip_special);
  if (!text.ok()) return text.status();
  if (!f.json) return WriteFile("-", *text);
  nlohmann::ordered_json object;
  object["num_tokens"] = ids->size();
  object["text"] = *std::move(text);
  return WriteFile("-", absl::StrCat(object.dump(), "\n"));
}

}  // namespace mkvm::cli
