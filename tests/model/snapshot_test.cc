#include <algorithm>
#include <cstring>

#include "nlohmann/json.hpp"
#include "tests/model/files.h"

namespace mkvm::model {
namespace {

constexpr char kUp[] = "model.layers.1.mlp.up_proj.weight";
constexpr char kNorm[] = "model.norm.weight";
constexpr char kHead[] = "lm_head.weight";
constexpr char kSmall[] =
    "qwen3 hidden=8 ff=12 layers=2 heads=2/1x4 vocab=10 tied";

// Every tensor of `weights` has the bytes of its namesake in `tensors`.
void ExpectHolds(Weights& weights, std::vector<FileTensor> tensors) {
  uint64_t bytes = 0;
  for (const std::string& name : weights.names()) {
    SCOPED_TRACE(name);
    const absl::StatusOr<Tensor> tensor = weights.Get(name);
    ASSERT_TRUE(tensor.ok()) << tensor.status();
    const FileTensor* expected = FindTensor(tensors, name);
    ASSERT_NE(expected, nullptr);
    EXPECT_EQ(tensor->type, TensorType::kBf16);
    EXPECT_EQ(tensor->shape, expected->shape);
    EXPECT_EQ(Bytes(*tensor), expected->bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor->data) % 2, 0u);
    // Asked twice, the same place.
    EXPECT_EQ(weights.Get(name)->data, tensor->data);
    bytes += expected->bytes.size();
  }
  EXPECT_EQ(weights.total_bytes(), bytes);
}

std::vector<std::string> NamesOf(const Config& config) {
  std::vector<std::string> names;
  for (const TensorSpec& spec : RequiredTensors(config)) {
    names.push_back(spec.name);
  }
  return names;
}

class SnapshotTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Weights>> Open() {
    WriteSnapshot(folder_, ConfigJson(changes_), tensors_);
    return OpenSnapshot(folder_.path());
  }
  FileTensor& At(absl::string_view name) { return *FindTensor(tensors_, name); }
  void Erase(absl::string_view name) {
    tensors_.erase(std::find_if(
        tensors_.begin(), tensors_.end(),
        [&](const FileTensor& tensor) { return tensor.name == name; }));
  }

  TempFolder folder_;
  std::string file_ = folder_ / "model.safetensors";
  std::map<std::string, std::string> changes_;
  std::vector<FileTensor> tensors_ = TensorsOf(SmallConfig());
};

TEST_F(SnapshotTest, Tied) {
  const auto weights = Open();
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ((*weights)->names(), NamesOf(SmallConfig()));
  EXPECT_EQ(Describe((*weights)->config()), kSmall);
  EXPECT_EQ((*weights)->description(),
            "mkvm_SnapshotTest_Tied (" + folder_.path() + "), " + kSmall);
  ExpectHolds(**weights, tensors_);
  EXPECT_ERROR((*weights)->Get(kHead), kNotFound,
               "no tensor \"lm_head.weight\" in mkvm_SnapshotTest_Tied (" +
                   folder_.path() + "), " + kSmall);
}

TEST_F(SnapshotTest, Untied) {
  changes_ = {{"tie_word_embeddings", "false"}};
  tensors_ = TensorsOf(SmallConfig(changes_));
  const auto weights = Open();
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ((*weights)->names().back(), kHead);
  ExpectHolds(**weights, tensors_);
}

TEST_F(SnapshotTest, StoredThoughTied) {
  tensors_.push_back({kHead, "BF16", {10, 8}, std::string(160, 'h')});
  const auto weights = Open();
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ((*weights)->names(), NamesOf(SmallConfig()));
  EXPECT_FALSE((*weights)->Get(kHead).ok());
  ExpectHolds(**weights, tensors_);
}

TEST_F(SnapshotTest, StoredThoughTiedOfAnotherShape) {
  tensors_.push_back({kHead, "BF16", {9, 8}, std::string(144, 'h')});
  EXPECT_ERROR(Open(), kInvalidArgument,
               file_ +
                   ": tensor \"lm_head.weight\" has the shape [9, 8], "
                   "config.json makes it [10, 8] (" +
                   kSmall + "); the files are of different models");
}

TEST_F(SnapshotTest, WithoutPrefix) {
  const std::vector<FileTensor> canonical = tensors_;
  for (FileTensor& tensor : tensors_) tensor.name = tensor.name.substr(6);
  const auto weights = Open();
  ASSERT_TRUE(weights.ok()) << weights.status();
  ExpectHolds(**weights, canonical);
}

TEST_F(SnapshotTest, WithAndWithoutPrefix) {
  FileTensor twin = At(kNorm);
  twin.name = "norm.weight";
  tensors_.push_back(twin);
  EXPECT_ERROR(Open(), kInvalidArgument,
               file_ +
                   ": tensor \"norm.weight\" is also there as "
                   "\"model.norm.weight\" in " +
                   file_);
}

TEST_F(SnapshotTest, OddAlignment) {
  WriteAll(folder_ / "config.json", ConfigJson());
  // One of two neighbouring pads makes the data start at an odd byte.
  for (const size_t pad : {0, 1}) {
    WriteAll(file_, FileOf(tensors_, pad));
    const auto weights = OpenSnapshot(folder_.path());
    ASSERT_TRUE(weights.ok()) << weights.status();
    ExpectHolds(**weights, tensors_);
  }
}

TEST_F(SnapshotTest, Missing) {
  Erase(kUp);
  const std::string rest = std::string(", which config.json asks for (") +
                           kSmall + "); download the snapshot again";
  EXPECT_ERROR(Open(), kInvalidArgument,
               folder_.path() +
                   ": tensor \"model.layers.1.mlp.up_proj.weight\" [12, 8] is "
                   "missing" +
                   rest);
  Erase(kNorm);
  EXPECT_ERROR(Open(), kInvalidArgument,
               folder_.path() +
                   ": tensor \"model.layers.1.mlp.up_proj.weight\" [12, 8] "
                   "(and 1 more) is missing" +
                   rest);
}

TEST_F(SnapshotTest, MissingHead) {
  changes_ = {{"tie_word_embeddings", "false"}};
  EXPECT_ERROR(Open(), kInvalidArgument,
               folder_.path() +
                   ": tensor \"lm_head.weight\" [10, 8] is missing, which "
                   "config.json asks for (qwen3 hidden=8 ff=12 layers=2 "
                   "heads=2/1x4 vocab=10 untied); download the snapshot again");
}

TEST_F(SnapshotTest, Extra) {
  const std::string rest =
      std::string(" is no part of what config.json describes (") + kSmall +
      "); the files are of different models";
  tensors_.push_back({"model.layers.2.mlp.up_proj.weight", "BF16", {1}, "xx"});
  EXPECT_ERROR(
      Open(), kInvalidArgument,
      file_ + ": tensor \"model.layers.2.mlp.up_proj.weight\" [1]" + rest);
  tensors_.push_back({"score.weight", "F32", {1}, "xxxx"});
  EXPECT_ERROR(Open(), kInvalidArgument,
               file_ +
                   ": tensor \"model.layers.2.mlp.up_proj.weight\" [1] (and 1 "
                   "more)" +
                   rest);
}

TEST_F(SnapshotTest, Shape) {
  FileTensor& up = At(kUp);
  std::swap(up.shape[0], up.shape[1]);
  EXPECT_ERROR(Open(), kInvalidArgument,
               file_ + ": tensor \"" + kUp +
                   "\" has the shape [8, 12], config.json makes it [12, 8] (" +
                   kSmall + "); the files are of different models");
  up.shape = {96};
  EXPECT_ERROR(Open(), kInvalidArgument,
               file_ + ": tensor \"" + kUp +
                   "\" has the shape [96], config.json makes it [12, 8] (" +
                   kSmall + "); the files are of different models");
}

TEST_F(SnapshotTest, DType) {
  for (const char* dtype : {"F16", "F32", "F8_E4M3"}) {
    FileTensor& norm = At(kNorm);
    norm.dtype = dtype;
    norm.bytes.assign(dtype[1] == '3' ? 32 : dtype[1] == '1' ? 16 : 8, 'n');
    EXPECT_ERROR(Open(), kInvalidArgument,
                 file_ + ": tensor \"model.norm.weight\" is " + dtype +
                     "; supported: BF16 (convert the model with transformers: "
                     "from_pretrained(..., dtype=torch.bfloat16), "
                     "save_pretrained)");
  }
}

TEST_F(SnapshotTest, Truncated) {
  ASSERT_TRUE(Open().ok());
  std::filesystem::resize_file(file_, std::filesystem::file_size(file_) - 1);
  const absl::Status status = OpenSnapshot(folder_.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(
      std::string(status.message()),
      testing::MatchesRegex(
          file_ + ": tensor \"model.norm.weight\": its data_offsets .* lie "
                  "outside the file's .* bytes of data; the file is damaged or "
                  "incomplete: download it again"));
}

TEST_F(SnapshotTest, NoWeights) {
  WriteAll(folder_ / "config.json", ConfigJson());
  const std::string at = folder_.path();
  EXPECT_ERROR(OpenSnapshot(at), kNotFound,
               at + " has neither model.safetensors nor "
                    "model.safetensors.index.json: the download is incomplete");
  WriteAll(folder_ / "m.gguf", "GGUF");
  EXPECT_ERROR(OpenSnapshot(at), kNotFound,
               at + " has no model.safetensors, only m.gguf: a GGUF file; take "
                    "the model's original snapshot");
  WriteAll(folder_ / "pytorch_model.bin", "PK");
  EXPECT_ERROR(OpenSnapshot(at), kNotFound,
               at + " has no model.safetensors, only pytorch_model.bin: "
                    "PyTorch weights; load them with transformers and call "
                    "save_pretrained(..., safe_serialization=True)");
  WriteAll(folder_ / "model-00001-of-00002.safetensors", "");
  EXPECT_ERROR(OpenSnapshot(at), kNotFound,
               at + " has no model.safetensors, only "
                    "model-00001-of-00002.safetensors: shards without their "
                    "index; download model.safetensors.index.json too");
}

TEST_F(SnapshotTest, NoFolder) {
  EXPECT_ERROR(OpenSnapshot(folder_ / "none"), kNotFound,
               folder_.path() + "/none: no such folder");
  WriteAll(file_, FileOf(tensors_));
  EXPECT_ERROR(OpenSnapshot(file_), kInvalidArgument,
               file_ +
                   " is a file; give the snapshot's folder, which holds "
                   "config.json");
}

// A snapshot of three shards: tensor i is in shard i % 3.
class ShardTest : public SnapshotTest {
 protected:
  void SetUp() override {
    for (size_t i = 0; i < tensors_.size(); ++i) {
      shards_[i % 3].push_back(tensors_[i]);
      weight_map_[tensors_[i].name] = Name(i % 3);
    }
  }
  static std::string Name(size_t shard) {
    return absl::StrCat("model-0000", shard + 1, "-of-00003.safetensors");
  }
  std::string PathOf(size_t shard) const { return folder_ / Name(shard); }
  absl::StatusOr<std::unique_ptr<Weights>> OpenShards() {
    WriteAll(folder_ / "config.json", ConfigJson());
    for (size_t i = 0; i < 3; ++i) WriteAll(PathOf(i), FileOf(shards_[i]));
    const nlohmann::json index = {{"metadata", {{"total_size", 4711}}},
                                  {"weight_map", weight_map_}};
    WriteAll(index_, index.dump(2));
    return OpenSnapshot(folder_.path());
  }

  std::vector<FileTensor> shards_[3];
  std::map<std::string, nlohmann::json> weight_map_;
  std::string index_ = folder_ / "model.safetensors.index.json";
};

TEST_F(ShardTest, Reads) {
  const auto weights = OpenShards();
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ((*weights)->names(), NamesOf(SmallConfig()));
  ExpectHolds(**weights, tensors_);
}

TEST_F(ShardTest, TheSingleFileWins) {
  ASSERT_TRUE(OpenShards().ok());
  for (char& c : At(kNorm).bytes) c = 'n';
  const auto weights = Open();
  ASSERT_TRUE(weights.ok()) << weights.status();
  ExpectHolds(**weights, tensors_);
}

TEST_F(ShardTest, ShardMissing) {
  ASSERT_TRUE(OpenShards().ok());
  std::filesystem::remove(PathOf(1));
  EXPECT_ERROR(OpenSnapshot(folder_.path()), kNotFound,
               PathOf(1) + " is missing, which " + index_ +
                   " names (3 shards in all); download it");
}

TEST_F(ShardTest, TensorInTwoShards) {
  shards_[1].push_back(shards_[0][0]);
  EXPECT_ERROR(OpenShards(), kInvalidArgument,
               PathOf(1) +
                   ": tensor \"model.embed_tokens.weight\" is also in "
                   "model-00001-of-00003.safetensors; the files are of "
                   "different downloads");
}

TEST_F(ShardTest, TensorThatTheIndexDoesNotList) {
  weight_map_.erase(tensors_[1].name);
  EXPECT_ERROR(OpenShards(), kInvalidArgument,
               PathOf(1) + ": tensor \"" + tensors_[1].name + "\" is not in " +
                   index_ + "; the files are of different downloads");
}

TEST_F(ShardTest, TensorThatItsShardLacks) {
  weight_map_[tensors_[2].name] = Name(0);
  EXPECT_ERROR(OpenShards(), kInvalidArgument,
               PathOf(0) + ": tensor \"" + tensors_[2].name +
                   "\" is missing, but " + index_ +
                   " says it is here; the files are of different downloads");
}

TEST_F(ShardTest, MissingEverywhere) {
  shards_[1].erase(shards_[1].begin());
  weight_map_.erase(tensors_[1].name);
  EXPECT_ERROR(OpenShards(), kInvalidArgument,
               folder_.path() + ": tensor \"" + tensors_[1].name +
                   "\" [8] is missing, which config.json asks for (" + kSmall +
                   "); download the snapshot again");
}

TEST_F(ShardTest, DamagedShard) {
  ASSERT_TRUE(OpenShards().ok());
  WriteAll(PathOf(2), "short");
  EXPECT_ERROR(OpenSnapshot(folder_.path()), kInvalidArgument,
               PathOf(2) +
                   ": 5 bytes are too few for a safetensors file; the file is "
                   "damaged or incomplete: download it again");
}

TEST_F(ShardTest, ShardNames) {
  for (const nlohmann::json& name :
       std::vector<nlohmann::json>{"../x.safetensors", "/etc/passwd", "", 7,
                                   "sub/x.safetensors", "x.bin", nullptr}) {
    weight_map_[tensors_[0].name] = name;
    EXPECT_ERROR(OpenShards(), kInvalidArgument,
                 index_ +
                     ": tensor \"model.embed_tokens.weight\" is said to "
                     "be in " +
                     name.dump() +
                     ", which is not the name of a .safetensors file");
  }
}

TEST_F(ShardTest, Index) {
  ASSERT_TRUE(OpenShards().ok());
  for (const char* text :
       {"[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{}})"}) {
    WriteAll(index_, text);
    EXPECT_ERROR(OpenSnapshot(folder_.path()), kInvalidArgument,
                 index_ +
                     ": no \"weight_map\" from tensors to shards; "
                     "download it again");
  }
  WriteAll(index_, R"({"weight_map":{)");
  EXPECT_ERROR(OpenSnapshot(folder_.path()), kInvalidArgument,
               index_ + ": byte 16: the text ends in the middle");
}

// The reference snapshots, read by the few lines of a second reader.
std::vector<FileTensor> ReadReference(const std::string& path) {
  const std::string bytes = ReadAll(path);
  uint64_t length;
  std::memcpy(&length, bytes.data(), 8);
  const nlohmann::json header = nlohmann::json::parse(bytes.substr(8, length));
  std::vector<FileTensor> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const uint64_t begin = entry["data_offsets"][0];
    const uint64_t end = entry["data_offsets"][1];
    tensors.push_back({name, entry["dtype"], entry["shape"],
                       bytes.substr(8 + length + begin, end - begin)});
  }
  return tensors;
}

TEST(ReferenceTest, SameBytes) {
  if (SharedFolder().empty()) GTEST_SKIP() << "no shared data";
  for (const char* name : {"tiny-tied", "tiny-mha"}) {
    const std::string folder = SharedFolder() + "/reference/" + name;
    SCOPED_TRACE(folder);
    const auto weights = OpenSnapshot(folder);
    ASSERT_TRUE(weights.ok()) << weights.status();
    const std::vector<FileTensor> tensors =
        ReadReference(folder + "/model.safetensors");
    EXPECT_EQ((*weights)->names().size(), tensors.size());
    ExpectHolds(**weights, tensors);
  }
  EXPECT_EQ((*OpenSnapshot(SharedFolder() + "/reference/tiny-tied"))->names(),
            NamesOf(*FindConfig("qwen3-tiny")));
}

TEST(ReferenceTest, Sharded) {
  if (SharedFolder().empty()) GTEST_SKIP() << "no shared data";
  const std::string reference = SharedFolder() + "/reference/tiny-tied";
  const std::vector<FileTensor> tensors =
      ReadReference(reference + "/model.safetensors");
  const TempFolder folder;
  WriteAll(folder / "config.json", ReadAll(reference + "/config.json"));
  std::map<std::string, std::vector<FileTensor>> shards;
  nlohmann::json index;
  uint64_t total = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const char* shard =
        i < 5 ? "model-1-of-2.safetensors" : "model-2-of-2.safetensors";
    shards[shard].push_back(tensors[i]);
    index["weight_map"][tensors[i].name] = shard;
    total += tensors[i].bytes.size();
  }
  index["metadata"]["total_size"] = total;
  WriteAll(folder / "model.safetensors.index.json", index.dump());
  for (const auto& [name, held] : shards) {
    WriteAll(folder / name, FileOf(held));
  }
  const auto weights = OpenSnapshot(folder.path());
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ((*weights)->total_bytes(), total);
  ExpectHolds(**weights, tensors);
}

}  // namespace
}  // namespace mkvm::model
