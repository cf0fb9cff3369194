#include "cli/model_source.h"

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "cli/flags.h"
#include "cli/model_folder.h"

namespace mkvm::cli {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The geometry that the program was compiled for, if it is a built-in one.
absl::StatusOr<model::Config> SyntheticConfig(const Geometry& geometry) {
  if (geometry.program == nullptr) {
    return model::FindConfig(geometry.config.empty() ? geometry.default_config
                                                     : geometry.config);
  }
  for (const std::string& name : model::ConfigNames()) {
    absl::StatusOr<model::Config> config = model::FindConfig(name);
    if (!config.ok()) return config.status();
    if (model::Fingerprint(*config) == geometry.program->model_fingerprint) {
      return config;
    }
  }
  return absl::FailedPreconditionError(absl::StrFormat(
      "%s was compiled for %s, which is no built-in geometry, so that there "
      "are no synthetic weights for it; give its snapshot with --model DIR",
      geometry.program_path, geometry.program->model));
}

// The seed of "synthetic" or "synthetic:SEED"; none if `flag` is a folder.
absl::StatusOr<std::optional<uint64_t>> ParseSynthetic(absl::string_view flag) {
  absl::string_view rest = flag;
  if (!absl::ConsumePrefix(&rest, "synthetic")) return std::nullopt;
  if (rest.empty()) return 1;
  if (!absl::ConsumePrefix(&rest, ":")) return std::nullopt;
  uint64_t seed;
  if (!absl::SimpleAtoi(rest, &seed)) {
    return UsageError(absl::StrCat("--model: \"", flag,
                                   "\" is not synthetic:SEED, SEED a number"));
  }
  return seed;
}

absl::Status CheckGeometry(const Geometry& geometry,
                           const model::Config& config,
                           absl::string_view source) {
  if (geometry.program == nullptr ||
      geometry.program->model_fingerprint == model::Fingerprint(config)) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrFormat(
      "%s was compiled for %s, but %s is %s; compile it for this model: mkvm "
      "compile --model %s -o OUT.bin",
      geometry.program_path, geometry.program->model, source,
      model::Describe(config), source));
}

absl::StatusOr<std::unique_ptr<model::Weights>> Open(absl::string_view flag,
                                                     const Geometry& geometry) {
  absl::StatusOr<std::optional<uint64_t>> seed = ParseSynthetic(flag);
  if (!seed.ok()) return seed.status();
  if (seed->has_value()) {
    absl::StatusOr<model::Config> config = SyntheticConfig(geometry);
    if (!config.ok()) return config.status();
    return model::MakeSynthetic(*config, **seed);
  }
  if (!geometry.config.empty()) {
    return UsageError(
        "--config is for synthetic weights; a snapshot has its "
        "own geometry");
  }
  const absl::StatusOr<std::string> folder = ResolveModel(flag);
  if (!folder.ok()) return folder.status();
  // The geometry first: cheaper, and a better message than a missing tensor.
  absl::StatusOr<model::Config> config = model::LoadConfig(*folder);
  if (!config.ok()) return config.status();
  if (absl::Status s = CheckGeometry(geometry, *config, flag); !s.ok()) {
    return s;
  }
  return model::OpenSnapshot(*folder);
}

bool CacheFits(const std::string& snapshot, const Geometry& geometry) {
  const absl::StatusOr<model::Config> config = model::LoadConfig(snapshot);
  if (!config.ok()) return false;
  return geometry.program == nullptr ||
         geometry.program->model_fingerprint == model::Fingerprint(*config);
}

}  // namespace

absl::StatusOr<std::unique_ptr<model::Weights>> OpenModel(
    absl::string_view flag, const Geometry& geometry) {
  if (!flag.empty()) return Open(flag, geometry);
  std::string choice;
  std::string why;
  if (!geometry.config.empty()) {
    choice = "synthetic:1";
    why = absl::StrCat("made-up weights for --config ", geometry.config);
  } else if (choice = Environment("MKVM_MODEL"); !choice.empty()) {
    why = "$MKVM_MODEL";
  } else if (choice = FindCachedSnapshot();
             !choice.empty() && CacheFits(choice, geometry)) {
    why = "found in the HuggingFace cache";
  } else {
    choice = "synthetic:1";
    why =
        "no --model, no $MKVM_MODEL, no fitting snapshot in the HuggingFace "
        "cache: made-up weights, so the tokens mean nothing";
  }
  absl::FPrintF(stderr, "model: %s (%s)\n", choice, why);
  return Open(choice, geometry);
}

}  // namespace mkvm::cli
