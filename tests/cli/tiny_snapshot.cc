#include "tests/cli/tiny_snapshot.h"

#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "model/weights.h"
#include "nlohmann/json.hpp"
#include "tests/model/files.h"
#include "tests/model/tiny_tokenizer.h"

namespace mkvm {
namespace {

using Json = nlohmann::ordered_json;

Json Added(int id, const char* content, bool special) {
  return {{"id", id},
          {"content", content},
          {"lstrip", false},
          {"rstrip", false},
          {"normalized", false},
          {"special", special},
          {"single_word", false}};
}

}  // namespace

const char kPlainTemplate[] =
    "{%- for message in messages %}\n"
    "    {{- '<|im_start|>' + message.role + '\\n' + message.content + "
    "'<|im_end|>\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|im_start|>assistant\\n' }}\n"
    "{%- endif %}\n";

void WriteTinySnapshot(const std::string& folder) {
  std::filesystem::create_directories(folder);
  const std::string config_json =
      model::ConfigJson({{"hidden_size", "64"},
                         {"intermediate_size", "128"},
                         {"num_attention_heads", "2"},
                         {"num_key_value_heads", "1"},
                         {"head_dim", "32"},
                         {"vocab_size", "280"},
                         {"max_position_embeddings", "4096"},
                         {"eos_token_id", ""}});
  model::WriteAll(folder + "/config.json", config_json);
  const auto config = model::ParseConfig(config_json, "tiny");
  ASSERT_TRUE(config.ok()) << config.status();
  const std::unique_ptr<model::Weights> weights =
      model::MakeSynthetic(*config, 1);
  std::vector<model::FileTensor> tensors;
  for (const std::string& name : weights->names()) {
    const auto tensor = weights->Get(name);
    ASSERT_TRUE(tensor.ok()) << tensor.status();
    const bool bf16 = tensor->type == model::TensorType::kBf16;
    tensors.push_back(
        {name, bf16 ? "BF16" : "F32", tensor->shape, model::Bytes(*tensor)});
  }
  model::WriteAll(folder + "/model.safetensors", model::FileOf(tensors));
  Json tokenizer = model::TinyTokenizer();
  tokenizer["added_tokens"].push_back(
      Added(kTinyImStart, "<|im_start|>", true));
  tokenizer["added_tokens"].push_back(Added(kTinyImEnd, "<|im_end|>", true));
  tokenizer["added_tokens"].push_back(Added(kTinyThinkEnd, "</think>", false));
  model::WriteAll(folder + "/tokenizer.json", tokenizer.dump());
  model::WriteAll(folder + "/generation_config.json", "{\"do_sample\": false}");
  model::WriteAll(folder + "/chat_template.jinja", kPlainTemplate);
}

}  // namespace mkvm
