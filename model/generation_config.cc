#include "model/generation_config.h"

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "model/file.h"
#include "model/json.h"

namespace mkvm::model {
namespace {

absl::Status Error(absl::string_view name, const char* key, const Json& value,
                   absl::string_view wanted) {
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s: \"%s\" is %s, not %s", name, key, Brief(value), wanted));
}

}  // namespace

absl::StatusOr<GenerationConfig> ParseGenerationConfig(absl::string_view json,
                                                       absl::string_view name) {
  const absl::StatusOr<Json> parsed = ParseJson(json, name);
  if (!parsed.ok()) return parsed.status();
  if (!parsed->is_object()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: %s is no object", name, Brief(*parsed)));
  }
  // Null means the default, as to transformers.
  const auto find = [&](const char* key) -> const Json* {
    const auto it = parsed->find(key);
    return it == parsed->end() || it->is_null() ? nullptr : &*it;
  };
  GenerationConfig config;
  if (const Json* value = find("do_sample")) {
    if (!value->is_boolean()) {
      return Error(name, "do_sample", *value, "true or false");
    }
    config.do_sample = value->get<bool>();
  }
  if (const Json* value = find("top_k")) {
    if (!value->is_number_integer()) {
      return Error(name, "top_k", *value, "a whole number");
    }
    config.top_k = value->get<int64_t>();
  }
  const struct {
    const char* key;
    double& out;
  } numbers[] = {{"temperature", config.temperature},
                 {"top_p", config.top_p},
                 {"min_p", config.min_p},
                 {"repetition_penalty", config.repetition_penalty}};
  for (const auto& [key, out] : numbers) {
    const Json* value = find(key);
    if (value == nullptr) continue;
    if (!value->is_number()) return Error(name, key, *value, "a number");
    out = value->get<double>();
  }
  return config;
}

absl::StatusOr<GenerationConfig> LoadGenerationConfig(
    absl::string_view folder) {
  const std::string path = JoinPath(folder, "generation_config.json");
  if (KindOfPath(path) == PathKind::kNone) return GenerationConfig();
  const absl::StatusOr<std::string> text = ReadSmallFile(path);
  if (!text.ok()) return text.status();
  return ParseGenerationConfig(*text, path);
}

}  // namespace mkvm::model
