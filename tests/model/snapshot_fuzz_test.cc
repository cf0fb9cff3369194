// Seeded damage to a sound snapshot: whatever the bytes, the answer is weights
// that can be read or an error with a message. Under ASan and UBSan this is
// what says that no header leads the reader astray.
#include <random>

#include "tests/model/files.h"

namespace mkvm::model {
namespace {

// Reads every byte of what was opened; counts the refusals.
struct Outcomes {
  int opened = 0;
  int refused = 0;
  uint64_t sum = 0;
};

void OpenAndRead(const TempFolder& folder, Outcomes& outcomes) {
  const auto weights = OpenSnapshot(folder.path());
  if (!weights.ok()) {
    ++outcomes.refused;
    EXPECT_FALSE(weights.status().message().empty());
    return;
  }
  ++outcomes.opened;
  for (const std::string& name : (*weights)->names()) {
    const absl::StatusOr<Tensor> tensor = (*weights)->Get(name);
    ASSERT_TRUE(tensor.ok()) << tensor.status();
    for (const char c : Bytes(*tensor)) {
      outcomes.sum += static_cast<uint8_t>(c);
    }
  }
}

// One to four edits: a bit flipped, a byte replaced, some removed or repeated.
std::string Damage(std::string bytes, size_t limit, std::mt19937& random) {
  const int edits = 1 + static_cast<int>(random() % 4);
  for (int i = 0; i < edits && !bytes.empty(); ++i) {
    const size_t at = random() % std::min(bytes.size(), limit);
    switch (random() % 4) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ 1 << random() % 8);
        break;
      case 1:
        bytes[at] = "0123456789[]{},:\"\\"[random() % 18];
        break;
      case 2:
        bytes.erase(at, 1 + random() % 8);
        break;
      default:
        bytes.insert(at, bytes.substr(at, 1 + random() % 8));
    }
  }
  return bytes;
}

class SnapshotFuzzTest : public testing::Test {
 protected:
  void SetUp() override {
    config_ = ConfigJson({{"num_hidden_layers", "1"}});
    tensors_ = TensorsOf(SmallConfig({{"num_hidden_layers", "1"}}));
    WriteSnapshot(folder_, config_, tensors_);
    file_ = ReadAll(folder_ / "model.safetensors");
    header_bytes_ = file_.rfind("}}") + 2;
    Outcomes sound;
    OpenAndRead(folder_, sound);
    ASSERT_EQ(sound.opened, 1);
  }

  TempFolder folder_;
  std::string config_;
  std::vector<FileTensor> tensors_;
  std::string file_;
  size_t header_bytes_ = 0;
};

TEST_F(SnapshotFuzzTest, EveryTruncationIsRefused) {
  Outcomes outcomes;
  int cuts = 0;
  for (size_t size = 0; size < file_.size(); ++size) {
    // All of the header, every 17th byte of the data.
    if (size > header_bytes_ && size % 17 != 0) continue;
    WriteAll(folder_ / "model.safetensors", file_.substr(0, size));
    OpenAndRead(folder_, outcomes);
    ++cuts;
  }
  EXPECT_EQ(outcomes.refused, cuts);
}

TEST_F(SnapshotFuzzTest, DamagedHeader) {
  std::mt19937 random(1);
  Outcomes outcomes;
  for (int i = 0; i < 4000; ++i) {
    WriteAll(folder_ / "model.safetensors",
             Damage(file_, header_bytes_, random));
    OpenAndRead(folder_, outcomes);
  }
  EXPECT_GT(outcomes.refused, 3500);
}

TEST_F(SnapshotFuzzTest, DamagedDataIsOtherWeights) {
  std::mt19937 random(2);
  Outcomes outcomes;
  for (int i = 0; i < 200; ++i) {
    std::string damaged = file_;
    const size_t at = header_bytes_ + random() % (file_.size() - header_bytes_);
    damaged[at] = static_cast<char>(damaged[at] ^ 1 << random() % 8);
    WriteAll(folder_ / "model.safetensors", damaged);
    OpenAndRead(folder_, outcomes);
  }
  EXPECT_EQ(outcomes.opened, 200);
}

TEST_F(SnapshotFuzzTest, DamagedConfig) {
  std::mt19937 random(3);
  Outcomes outcomes;
  for (int i = 0; i < 2000; ++i) {
    WriteAll(folder_ / "config.json", Damage(config_, config_.size(), random));
    OpenAndRead(folder_, outcomes);
  }
  EXPECT_GT(outcomes.refused, 1000);
}

TEST_F(SnapshotFuzzTest, DamagedIndex) {
  std::string index = R"({"weight_map":{)";
  for (size_t i = 0; i < tensors_.size(); ++i) {
    absl::StrAppend(&index, i == 0 ? "" : ",", "\"", tensors_[i].name,
                    "\":\"a.safetensors\"");
  }
  index += "}}";
  std::filesystem::rename(folder_ / "model.safetensors",
                          folder_ / "a.safetensors");
  const std::string path = folder_ / "model.safetensors.index.json";
  WriteAll(path, index);
  Outcomes outcomes;
  OpenAndRead(folder_, outcomes);
  ASSERT_EQ(outcomes.opened, 1);
  std::mt19937 random(4);
  for (int i = 0; i < 2000; ++i) {
    WriteAll(path, Damage(index, index.size(), random));
    OpenAndRead(folder_, outcomes);
  }
  EXPECT_GT(outcomes.refused, 1900);
}

}  // namespace
}  // namespace mkvm::model
