// tokenizer.json: everything about a tokenizer in one file.
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "model/tokenizer_parts.h"
#include "model/tokenizer_spec.h"

namespace mkvm::model {
namespace {

// The member, or null where there is none or `object` is no object.
const Json* Find(const Json& object, const std::string& name) {
  static const auto* null = new Json();
  if (!object.is_object()) return null;
  const auto it = object.find(name);
  return it == object.end() ? null : &*it;
}

std::string TypeOf(const Json& part) {
  const Json& type = *Find(part, "type");
  return type.is_string() ? type.get<std::string>() : "";
}

class Reader {
 public:
  explicit Reader(absl::string_view what) : what_(what) {}

  absl::StatusOr<TokenizerSpec> Read(const Json& root) {
    if (!root.is_object()) return Bad("the text is not an object");
    if (absl::Status s = ReadNormalizer(*Find(root, "normalizer")); !s.ok()) {
      return s;
    }
    if (absl::Status s = ReadPreTokenizer(*Find(root, "pre_tokenizer"));
        !s.ok()) {
      return s;
    }
    if (absl::Status s = CheckEnds(root); !s.ok()) return s;
    if (absl::Status s = ReadModel(*Find(root, "model")); !s.ok()) return s;
    if (absl::Status s = ReadAdded(*Find(root, "added_tokens")); !s.ok()) {
      return s;
    }
    return std::move(spec_);
  }

 private:
  absl::Status Bad(absl::string_view why) const {
    return absl::InvalidArgumentError(absl::StrCat(what_, ": ", why));
  }
  // A part that is sound, but for another kind of tokenizer.
  absl::Status NotDone(absl::string_view part, const Json& value,
                       absl::string_view done) const {
    return Bad(absl::StrFormat("\"%s\" is %s; mkvm does %s", part, Brief(value),
                               done));
  }

  absl::Status ReadNormalizer(const Json& part) {
    if (part.is_null()) return absl::OkStatus();
    if (TypeOf(part) != "NFC") {
      return NotDone("normalizer", part, "NFC and none");
    }
    spec_.to_nfc = true;
    return absl::OkStatus();
  }

  absl::Status ReadPreTokenizer(const Json& part) {
    const Json& steps = *Find(part, "pretokenizers");
    if (TypeOf(part) != "Sequence" || !steps.is_array() || steps.size() != 2 ||
        TypeOf(steps[0]) != "Split" || TypeOf(steps[1]) != "ByteLevel") {
      return NotDone("pre_tokenizer", part,
                     "a sequence of Split and ByteLevel");
    }
    const Json& regex = *Find(*Find(steps[0], "pattern"), "Regex");
    if (!regex.is_string() || *Find(steps[0], "behavior") != "Isolated" ||
        *Find(steps[0], "invert") == true) {
      return NotDone("pre_tokenizer", steps[0],
                     "a Split by a Regex, Isolated, not inverted");
    }
    if (*Find(steps[1], "add_prefix_space") != false ||
        *Find(steps[1], "use_regex") != false) {
      return NotDone("pre_tokenizer", steps[1],
                     "ByteLevel with add_prefix_space and use_regex false");
    }
    spec_.pattern = regex.get<std::string>();
    return absl::OkStatus();
  }

  // What comes after the ids must change none, and back must lead ByteLevel.
  absl::Status CheckEnds(const Json& root) const {
    const Json& after = *Find(root, "post_processor");
    if (!after.is_null() && TypeOf(after) != "ByteLevel") {
      return NotDone("post_processor", after, "ByteLevel and none");
    }
    const Json& decoder = *Find(root, "decoder");
    if (TypeOf(decoder) != "ByteLevel") {
      return NotDone("decoder", decoder, "ByteLevel");
    }
    for (const char* name : {"truncation", "padding"}) {
      const Json& part = *Find(root, name);
      if (!part.is_null()) return NotDone(name, part, "none");
    }
    return absl::OkStatus();
  }

  absl::Status ReadModel(const Json& model) {
    const Json& type = *Find(model, "type");
    // Old files leave the type out.
    if (!model.is_object() || (!type.is_null() && type != "BPE")) {
      return NotDone("model", type, "BPE");
    }
    for (const char* name :
         {"dropout", "unk_token", "byte_fallback", "ignore_merges",
          "continuing_subword_prefix", "end_of_word_suffix"}) {
      const Json& value = *Find(model, name);
      const bool is_off =
          value.is_null() || value == false || value == 0 ||
          (value.is_string() && value.get_ref<const std::string&>().empty());
      if (!is_off) {
        return NotDone(absl::StrCat("model.", name), value, "none");
      }
    }
    if (absl::Status s =
            ReadVocab(*Find(model, "vocab"),
                      absl::StrCat(what_, ": \"model.vocab\""), spec_);
        !s.ok()) {
      return s;
    }
    return ReadMerges(*Find(model, "merges"));
  }

  // Each ["left", "right"] since 2024, "left right" before.
  absl::Status ReadMerges(const Json& merges) {
    if (!merges.is_array()) return Bad("\"model.merges\" is not a list");
    spec_.merges.reserve(merges.size());
    for (const Json& merge : merges) {
      if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
          merge[1].is_string()) {
        spec_.merges.emplace_back(merge[0].get<std::string>(),
                                  merge[1].get<std::string>());
        continue;
      }
      const std::string place = absl::StrFormat("%s: \"model.merges\"[%d]",
                                                what_, spec_.merges.size());
      if (!merge.is_string()) {
        return absl::InvalidArgumentError(
            absl::StrCat(place, " is ", Brief(merge), ", not two tokens"));
      }
      if (absl::Status s = AddMerge(merge.get<std::string>(), place, spec_);
          !s.ok()) {
        return s;
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadAdded(const Json& tokens) {
    if (!tokens.is_null() && !tokens.is_array()) {
      return Bad("\"added_tokens\" is not a list");
    }
    for (const Json& token : tokens) {
      const Json& id = *Find(token, "id");
      if (absl::Status s = AddAddedToken(
              token, id.is_number_integer() ? id.get<int64_t>() : -1, what_,
              spec_);
          !s.ok()) {
        return s;
      }
    }
    return CheckAdded(spec_, what_);
  }

  std::string what_;
  TokenizerSpec spec_;
};

}  // namespace

absl::StatusOr<TokenizerSpec> ParseTokenizerJson(absl::string_view text,
                                                 absl::string_view what) {
  const absl::StatusOr<Json> root = ParseJson(text, what);
  if (!root.ok()) return root.status();
  return Reader(what).Read(*root);
}

}  // namespace mkvm::model
