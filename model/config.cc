#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "model/file.h"
#include "model/json.h"

namespace mkvm::model {
namespace {

constexpr char kArchitecture[] = "Qwen3ForCausalLM";
constexpr char kModelType[] = "qwen3";
// The ids that end a text are an operand of fixed size in programs.
constexpr size_t kMaxEosIds = 8;

// Reads keys of one JSON object; every error names the text and the key.
class Reader {
 public:
  Reader(const Json& object, absl::string_view text)
      : object_(object), text_(text) {}

  // Null where the key is absent or holds null, which mean the same to
  // transformers.
  const Json* Find(const char* key) const {
    const auto it = object_.find(key);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }

  absl::Status Error(absl::string_view key, const Json& value,
                     absl::string_view supported) const {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: \"%s\" is %s; %s", text_, key, Brief(value), supported));
  }

  // An integer in [1, max] that must be there. `unit` is for people.
  absl::Status Count(const char* key, uint32_t max, uint32_t& out) const {
    const Json* value = Find(key);
    if (value == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: \"%s\" is missing", text_, key));
    }
    // Positive integers are unsigned to the parser; 1e3 and 8.0 are not
    // integers to transformers either.
    if (!value->is_number_unsigned() || value->get<uint64_t>() == 0 ||
        value->get<uint64_t>() > max) {
      return Error(key, *value,
                   absl::StrFormat("supported: an integer from 1 to %d", max));
    }
    out = static_cast<uint32_t>(value->get<uint64_t>());
    return absl::OkStatus();
  }

  // A boolean; `out` keeps its value where the key is absent.
  absl::Status Flag(const char* key, bool& out) const {
    const Json* value = Find(key);
    if (value == nullptr) return absl::OkStatus();
    if (!value->is_boolean()) {
      return Error(key, *value, "supported: true or false");
    }
    out = value->get<bool>();
    return absl::OkStatus();
  }

  // A key that, where present, must hold exactly this string.
  absl::Status Only(const char* key, absl::string_view wanted) const {
    const Json* value = Find(key);
    if (value == nullptr || *value == Json(std::string(wanted))) {
      return absl::OkStatus();
    }
    return Error(key, *value, absl::StrFormat("supported: \"%s\"", wanted));
  }

  // A key that, where present, must be false.
  absl::Status Off(const char* key) const {
    bool value = false;
    if (absl::Status status = Flag(key, value); !status.ok()) return status;
    return value ? Error(key, Json(true), "supported: false")
                 : absl::OkStatus();
  }

  // A finite number above 0 and at most `max`; kept where absent.
  absl::Status Positive(const char* key, double max, double& out) const {
    const Json* value = Find(key);
    if (value == nullptr) return absl::OkStatus();
    const double number = value->is_number() ? value->get<double>() : 0;
    if (!(number > 0 && number <= max)) {
      return Error(
          key, *value,
          absl::StrFormat("supported: a number above 0, at most %g", max));
    }
    out = number;
    return absl::OkStatus();
  }

 private:
  const Json& object_;
  absl::string_view text_;
};

absl::Status CheckArchitecture(const Reader& reader, absl::string_view text) {
  const std::string supported =
      absl::StrFormat("supported: dense Qwen3 (\"%s\")", kArchitecture);
  const Json* architectures = reader.Find("architectures");
  const Json* type = reader.Find("model_type");
  if (architectures == nullptr && type == nullptr) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: neither \"architectures\" nor \"model_type\" says what the model "
        "is; %s",
        text, supported));
  }
  if (architectures != nullptr && *architectures != Json{kArchitecture}) {
    return reader.Error("architectures", *architectures, supported);
  }
  if (type != nullptr && *type != Json(kModelType)) {
    return reader.Error("model_type", *type, supported);
  }
  return absl::OkStatus();
}

// Features that change the arithmetic and that no program here computes.
absl::Status CheckFeatures(const Reader& reader, uint32_t num_layers) {
  for (const char* key : {"torch_dtype", "dtype"}) {
    if (absl::Status s = reader.Only(key, "bfloat16"); !s.ok()) return s;
  }
  if (absl::Status s = reader.Only("hidden_act", "silu"); !s.ok()) return s;
  for (const char* key : {"attention_bias", "use_sliding_window"}) {
    if (absl::Status s = reader.Off(key); !s.ok()) return s;
  }
  if (const Json* value = reader.Find("quantization_config")) {
    return reader.Error("quantization_config", *value,
                        "supported: unquantized bfloat16 weights");
  }
  const Json* types = reader.Find("layer_types");
  if (types == nullptr) return absl::OkStatus();
  if (!types->is_array() || types->size() != num_layers) {
    return reader.Error(
        "layer_types", *types,
        absl::StrFormat("supported: a list of %d types, one a layer",
                        num_layers));
  }
  for (const Json& type : *types) {
    if (type != Json("full_attention")) {
      return reader.Error("layer_types", type, "supported: \"full_attention\"");
    }
  }
  return absl::OkStatus();
}

// Refuses what changes the rotary embedding, reads rope_theta. transformers 4
// writes "rope_scaling", 5 "rope_parameters".
absl::Status ParseRopeObject(const Reader& reader, const char* key,
                             absl::string_view text, double& theta) {
  const Json* value = reader.Find(key);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_object()) {
    return reader.Error(key, *value, "supported: null or an object");
  }
  const std::string where = absl::StrCat(text, ": \"", key, "\"");
  const Reader rope(*value, where);
  for (const char* type : {"rope_type", "type"}) {
    const Json* kind = rope.Find(type);
    if (kind == nullptr || *kind == Json("default")) continue;
    return rope.Error(type, *kind,
                      *kind == Json("yarn")
                          ? "supported: \"default\" (YaRN is not implemented: "
                            "remove it to run within the original context)"
                          : "supported: \"default\"");
  }
  if (value->contains("factor") && rope.Find("rope_type") == nullptr &&
      rope.Find("type") == nullptr) {
    return rope.Error("factor", (*value)["factor"],
                      "supported: no scaling (\"rope_type\": \"default\")");
  }
  // transformers 5 allows one object per kind of layer.
  for (const auto& [name, inner] : value->items()) {
    if (inner.is_object()) {
      return rope.Error(name, inner, "supported: one set for all layers");
    }
  }
  return rope.Positive("rope_theta", 1e12, theta);
}

absl::Status ParseRope(const Reader& reader, absl::string_view text,
                       Config& config) {
  // The later wins: default, top level, rope_scaling, rope_parameters.
  if (absl::Status s = reader.Positive("rope_theta", 1e12, config.rope_theta);
      !s.ok()) {
    return s;
  }
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (absl::Status s = ParseRopeObject(reader, key, text, config.rope_theta);
        !s.ok()) {
      return s;
    }
  }
  const Json* partial = reader.Find("partial_rotary_factor");
  if (const Json* parameters = reader.Find("rope_parameters")) {
    if (parameters->contains("partial_rotary_factor")) {
      partial = &(*parameters)["partial_rotary_factor"];
    }
  }
  if (partial != nullptr && !partial->is_null() && *partial != Json(1.0)) {
    return reader.Error("partial_rotary_factor", *partial, "supported: 1");
  }
  return absl::OkStatus();
}

// eos_token_id: absent, an id, or a list of ids.
absl::Status ParseEos(const Reader& reader, std::vector<int32_t>& out) {
  constexpr char kKey[] = "eos_token_id";
  const Json* value = reader.Find(kKey);
  if (value == nullptr) return absl::OkStatus();
  std::vector<int32_t> ids;
  const Json list = value->is_array() ? *value : Json::array({*value});
  for (const Json& id : list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) {
      return reader.Error(kKey, *value,
                          "supported: a token id or a list of them");
    }
    const int32_t token = static_cast<int32_t>(id.get<uint64_t>());
    if (std::find(ids.begin(), ids.end(), token) == ids.end()) {
      ids.push_back(token);
    }
  }
  if (ids.size() > kMaxEosIds) {
    return reader.Error(
        kKey, *value, absl::StrFormat("supported: at most %d ids", kMaxEosIds));
  }
  out = std::move(ids);
  return absl::OkStatus();
}

absl::Status ParseHeads(const Reader& reader, absl::string_view text,
                        Config& config) {
  constexpr uint32_t kMaxHeads = 1024;
  if (absl::Status s =
          reader.Count("num_attention_heads", kMaxHeads, config.num_q_heads);
      !s.ok()) {
    return s;
  }
  if (absl::Status s =
          reader.Count("num_key_value_heads", kMaxHeads, config.num_kv_heads);
      !s.ok()) {
    return s;
  }
  if (config.num_q_heads % config.num_kv_heads != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: \"num_attention_heads\" (%d) is no multiple of "
                        "\"num_key_value_heads\" (%d)",
                        text, config.num_q_heads, config.num_kv_heads));
  }
  if (reader.Find("head_dim") == nullptr) {
    // transformers takes 128 here, older readers hidden / heads. Where the two
    // differ, a guess would end in a puzzling complaint about shapes.
    constexpr uint32_t kDefault = 128;
    if (config.hidden_size != kDefault * config.num_q_heads) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s: \"head_dim\" is missing, and hidden_size / num_attention_heads "
          "(%d / %d) is not Qwen3's default of %d; add the key",
          text, config.hidden_size, config.num_q_heads, kDefault));
    }
    config.head_dim = kDefault;
  } else if (absl::Status s = reader.Count("head_dim", 1024, config.head_dim);
             !s.ok()) {
    return s;
  }
  if (config.head_dim % 2 != 0) {
    return reader.Error("head_dim", Json(config.head_dim),
                        "supported: an even number (rotary pairs)");
  }
  return absl::OkStatus();
}

// The folder's name, or the model's where the folder is one of the HuggingFace
// cache ("models--Qwen--Qwen3-0.6B/snapshots/<revision>").
std::string NameOfDirectory(absl::string_view directory) {
  while (absl::ConsumeSuffix(&directory, "/")) {
  }
  const std::vector<absl::string_view> parts = absl::StrSplit(directory, '/');
  const size_t n = parts.size();
  if (n >= 3 && parts[n - 2] == "snapshots" &&
      absl::StartsWith(parts[n - 3], "models--")) {
    const std::vector<absl::string_view> names =
        absl::StrSplit(parts[n - 3], "--");
    return std::string(names.back());
  }
  return std::string(parts.back());
}

absl::StatusOr<Json> ParseObject(absl::string_view json,
                                 absl::string_view text) {
  absl::StatusOr<Json> parsed = ParseJson(json, text);
  if (!parsed.ok()) return parsed.status();
  if (!parsed->is_object()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: holds %s, not an object", text, Brief(*parsed)));
  }
  return parsed;
}

}  // namespace

absl::StatusOr<Config> ParseConfig(absl::string_view json,
                                   absl::string_view name) {
  const absl::StatusOr<Json> parsed = ParseObject(json, name);
  if (!parsed.ok()) return parsed.status();
  const Reader reader(*parsed, name);
  if (absl::Status s = CheckArchitecture(reader, name); !s.ok()) return s;

  Config config;
  config.name = std::string(name);
  struct Size {
    const char* key;
    uint32_t max;
    uint32_t& out;
  };
  // The limits are those of programs (24-bit token ids in an argmax, 32-bit
  // positions) or far above any dense model, so that products fit 64 bits.
  const Size sizes[] = {
      {"hidden_size", 1u << 20, config.hidden_size},
      {"intermediate_size", 1u << 22, config.intermediate_size},
      {"num_hidden_layers", 1u << 12, config.num_layers},
      {"vocab_size", 1u << 24, config.vocab_size},
      {"max_position_embeddings", 1u << 26, config.max_positions},
  };
  for (const Size& size : sizes) {
    if (absl::Status s = reader.Count(size.key, size.max, size.out); !s.ok()) {
      return s;
    }
  }
  double eps = config.rms_norm_eps;
  for (absl::Status s :
       {ParseHeads(reader, name, config),
        CheckFeatures(reader, config.num_layers),
        ParseRope(reader, name, config),
        reader.Positive("rms_norm_eps", 0.1, eps),
        reader.Flag("tie_word_embeddings", config.tie_word_embeddings),
        ParseEos(reader, config.eos_token_ids)}) {
    if (!s.ok()) return s;
  }
  config.rms_norm_eps = static_cast<float>(eps);
  return config;
}

absl::StatusOr<Config> LoadConfig(absl::string_view directory) {
  const std::string path = JoinPath(directory, "config.json");
  switch (KindOfPath(std::string(directory))) {
    case PathKind::kNone:
      return absl::NotFoundError(
          absl::StrFormat("%s: no such folder", directory));
    case PathKind::kFile:
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s is a file; give the snapshot's folder, which holds config.json",
          directory));
    case PathKind::kDirectory:
      break;
  }
  if (KindOfPath(path) == PathKind::kNone) {
    return absl::NotFoundError(absl::StrFormat(
        "%s has no config.json: not the folder of a HuggingFace snapshot",
        directory));
  }
  const absl::StatusOr<std::string> text = ReadSmallFile(path);
  if (!text.ok()) return text.status();
  absl::StatusOr<Config> config = ParseConfig(*text, path);
  if (!config.ok()) return config.status();
  config->name = NameOfDirectory(directory);

  // The ids that end a text are the generation's affair where it names any.
  const std::string generation = JoinPath(directory, "generation_config.json");
  if (KindOfPath(generation) == PathKind::kNone) return config;
  const absl::StatusOr<std::string> generation_text = ReadSmallFile(generation);
  if (!generation_text.ok()) return generation_text.status();
  const absl::StatusOr<Json> parsed = ParseObject(*generation_text, generation);
  if (!parsed.ok()) return parsed.status();
  if (absl::Status s =
          ParseEos(Reader(*parsed, generation), config->eos_token_ids);
      !s.ok()) {
    return s;
  }
  return config;
}

}  // namespace mkvm::model
