// Snapshots made on the fly: a folder, its files, and tensors to put in them.
#ifndef MKVM_TESTS_MODEL_FILES_H_
#define MKVM_TESTS_MODEL_FILES_H_

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/config.h"
#include "model/weights.h"

namespace mkvm::model {

// The folder of shared test data; "" where this machine has none.
inline std::string SharedFolder() {
  const char* set = std::getenv("MKVM_SHARED");
  const std::string folder =
      set != nullptr ? set : std::string(MKVM_SOURCE_DIR) + "/../shared";
  return std::filesystem::is_directory(folder) ? folder : "";
}

inline std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

inline void WriteAll(const std::string& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  ASSERT_TRUE(out.good()) << path;
}

// An empty folder of this test's own.
class TempFolder {
 public:
  TempFolder() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    std::string name =
        absl::StrCat("mkvm_", info->test_suite_name(), "_", info->name());
    for (char& c : name) c = c == '/' ? '_' : c;
    path_ = std::filesystem::path(testing::TempDir()) / name;
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_.string(); }
  std::string operator/(absl::string_view name) const {
    return absl::StrCat(path(), "/", name);
  }

 private:
  std::filesystem::path path_;
};

// One tensor of a file to write; `bytes` are what its data_offsets span.
struct FileTensor {
  std::string name;
  std::string dtype = "BF16";
  std::vector<uint64_t> shape;
  std::string bytes;
};

inline std::string LittleEndian64(uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) {
    bytes += static_cast<char>(value >> (8 * i) & 0xff);
  }
  return bytes;
}

// A safetensors file of this header text and this data.
inline std::string FileOf(const std::string& header, const std::string& data) {
  return LittleEndian64(header.size()) + header + data;
}

// A sound file. `pad` spaces end the header.
inline std::string FileOf(const std::vector<FileTensor>& tensors,
                          size_t pad = 0) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  std::string data;
  for (const FileTensor& tensor : tensors) {
    absl::StrAppend(&header, ",\"", tensor.name, "\":{\"dtype\":\"",
                    tensor.dtype, "\",\"shape\":[",
                    absl::StrJoin(tensor.shape, ","), "],\"data_offsets\":[",
                    data.size(), ",", data.size() + tensor.bytes.size(), "]}");
    data += tensor.bytes;
  }
  header += "}";
  header.append(pad, ' ');
  return FileOf(header, data);
}

// A geometry of a few hundred weights, as transformers 4 writes it.
inline std::map<std::string, std::string> SmallConfigKeys() {
  return {{"architectures", R"(["Qwen3ForCausalLM"])"},
          {"model_type", R"("qwen3")"},
          {"hidden_size", "8"},
          {"intermediate_size", "12"},
          {"num_hidden_layers", "2"},
          {"num_attention_heads", "2"},
          {"num_key_value_heads", "1"},
          {"head_dim", "4"},
          {"vocab_size", "10"},
          {"max_position_embeddings", "64"},
          {"hidden_act", R"("silu")"},
          {"rope_theta", "1000000"},
          {"rope_scaling", "null"},
          {"rms_norm_eps", "1e-06"},
          {"tie_word_embeddings", "true"},
          {"torch_dtype", R"("bfloat16")"},
          {"use_sliding_window", "false"},
          {"sliding_window", "null"},
          {"attention_bias", "false"},
          {"eos_token_id", "3"}};
}

// `keys` with `changes` made; an empty value removes its key.
inline std::string ConfigJson(
    const std::map<std::string, std::string>& changes = {}) {
  std::map<std::string, std::string> keys = SmallConfigKeys();
  for (const auto& [key, value] : changes) keys[key] = value;
  std::vector<std::string> lines;
  for (const auto& [key, value] : keys) {
    if (!value.empty()) lines.push_back(absl::StrCat("\"", key, "\": ", value));
  }
  return absl::StrCat("{\n  ", absl::StrJoin(lines, ",\n  "), "\n}\n");
}

inline Config SmallConfig(
    const std::map<std::string, std::string>& changes = {}) {
  const auto config = ParseConfig(ConfigJson(changes), "small");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : Config();
}

inline void ExpectSameGeometry(const Config& a, const Config& b) {
  EXPECT_EQ(Describe(a), Describe(b));
  EXPECT_EQ(Fingerprint(a), Fingerprint(b));
  EXPECT_EQ(a.max_positions, b.max_positions);
  EXPECT_EQ(a.rope_theta, b.rope_theta);
  EXPECT_EQ(a.rms_norm_eps, b.rms_norm_eps);
}

// Every tensor that the geometry needs, with bytes that differ everywhere.
inline std::vector<FileTensor> TensorsOf(const Config& config) {
  std::vector<FileTensor> tensors;
  uint32_t counter = 0;
  for (const TensorSpec& spec : RequiredTensors(config)) {
    uint64_t count = 1;
    for (const uint64_t size : spec.shape) count *= size;
    FileTensor tensor{spec.name, "BF16", spec.shape, ""};
    for (uint64_t i = 0; i < 2 * count; ++i) {
      counter = counter * 1664525u + 1013904223u;
      tensor.bytes += static_cast<char>(counter >> 24);
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

inline FileTensor* FindTensor(std::vector<FileTensor>& tensors,
                              absl::string_view name) {
  for (FileTensor& tensor : tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

// config.json and model.safetensors.
inline void WriteSnapshot(const TempFolder& folder, const std::string& config,
                          const std::vector<FileTensor>& tensors) {
  WriteAll(folder / "config.json", config);
  WriteAll(folder / "model.safetensors", FileOf(tensors));
}

inline std::string Bytes(const Tensor& tensor) {
  uint64_t count = 1;
  for (const uint64_t size : tensor.shape) count *= size;
  return std::string(static_cast<const char*>(tensor.data),
                     count * (tensor.type == TensorType::kBf16 ? 2 : 4));
}

// EXPECT that a Status or StatusOr is an error of this code and message.
template <typename T>
absl::Status StatusOf(const T& result) {
  if constexpr (std::is_same_v<T, absl::Status>) {
    return result;
  } else {
    return result.status();
  }
}
#define EXPECT_ERROR(result, expected_code, expected_message)             \
  do {                                                                    \
    const absl::Status status_of_result = StatusOf(result);               \
    EXPECT_EQ(status_of_result.code(), absl::StatusCode::expected_code);  \
    EXPECT_EQ(std::string(status_of_result.message()), expected_message); \
  } while (false)

}  // namespace mkvm::model

#endif  // MKVM_TESTS_MODEL_FILES_H_
