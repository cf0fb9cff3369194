#include "scheduler/graph.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mkvm::scheduler {
namespace {

using isa::BufferKind;
using isa::DType;
using isa::Layout;

class Builder {
 public:
  Builder(const model::Config& config, const Geometry& geometry)
      : c_(config), g_(geometry) {
    graph_.kv_heads = config.num_kv_heads;
  }

  Graph Build() {
    MakeShared();
    MakeEmbed();
    for (uint32_t layer = 0; layer < c_.num_layers; ++layer) MakeLayer(layer);
    MakeHead();
    return std::move(graph_);
  }

 private:
  uint32_t Tensor(std::string name, DType dtype, BufferKind kind,
                  std::vector<uint64_t> shape, Layout layout = Layout::kRows) {
    graph_.tensors.push_back(
        {std::move(name), dtype, kind, layout, std::move(shape)});
    return static_cast<uint32_t>(graph_.tensors.size() - 1);
  }
  uint32_t Activation(std::string name, std::vector<uint64_t> shape) {
    return Tensor(std::move(name), DType::kF24, BufferKind::kActivation,
                  std::move(shape));
  }
  // A norm's weight.
  uint32_t Vector(std::string name, uint64_t size) {
    return Tensor(std::move(name), DType::kBf16, BufferKind::kWeight, {size});
  }
  // A weight that gemv streams.
  uint32_t Matrix(std::string name, uint64_t rows, uint64_t k) {
    return Tensor(std::move(name), DType::kBf16, BufferKind::kWeight, {rows, k},
                  g_.panels ? Layout::kPanels : Layout::kRows);
  }

  void Add(std::string name, std::string counter, std::vector<Part> parts,
           bool per_kv_head = false) {
    graph_.ops.push_back({.name = std::move(name),
                          .parts = std::move(parts),
                          .counter = std::move(counter),
                          .per_kv_head = per_kv_head});
  }

  uint32_t q_rows() const { return c_.num_q_heads * c_.head_dim; }
  uint32_t kv_rows() const { return c_.num_kv_heads * c_.head_dim; }
  uint32_t group() const { return c_.num_q_heads / c_.num_kv_heads; }

  void MakeShared() {
    tokens_ = Tensor("tokens", DType::kI32, BufferKind::kState,
                     {uint64_t{g_.max_context} + 1});
    run_ = Tensor("run", DType::kI32, BufferKind::kInput, {2});
    eos_ = Tensor("eos", DType::kI32, BufferKind::kInput, {8});
    stop_ = Tensor("stop", DType::kI32, BufferKind::kState, {1});
    rope_ = Tensor("rope.cos_sin", DType::kF32, BufferKind::kWeight,
                   {g_.max_context, c_.head_dim});
  }

  void MakeEmbed() {
    const char* const kTable = "model.embed_tokens.weight";
    const std::vector<uint64_t> shape = {c_.vocab_size, c_.hidden_size};
    // A tied table is the LM head's weight too, so it is stored as that
    // matrix.
    const uint32_t table =
        c_.tie_word_embeddings
            ? Matrix(kTable, c_.vocab_size, c_.hidden_size)
            : Tensor(kTable, DType::kBf16, BufferKind::kWeight, shape);
    head_ = c_.tie_word_embeddings
                ? table
                : Matrix("lm_head.weight", c_.vocab_size, c_.hidden_size);
    x_ = Activation("L00.x", {c_.hidden_size});
    isa::EmbedOperands op;
    op.tokens = tokens_;
    op.table = table;
    op.y = x_;
    op.count = c_.hidden_size;
    Add("embed", "L00.x", {op});
  }

  // A gemv over all rows of `w`.
  isa::GemvOperands Gemv(uint32_t x, uint32_t w) const {
    isa::GemvOperands op;
    op.x = x;
    op.w = w;
    op.rows = static_cast<uint32_t>(graph_.tensors[w].shape[0]);
    op.k = static_cast<uint32_t>(graph_.tensors[w].shape[1]);
    op.tokens_per_pass = 1;
    return op;
  }

  // Gives `gemvs` the norm of their x: as their prologue, or as an operation
  // before them whose output becomes their x.
  void Normalize(const std::string& name, uint32_t g,
                 std::vector<isa::GemvOperands*> gemvs) {
    const uint32_t x = gemvs.front()->x;
    if (g_.fuse) {
      for (isa::GemvOperands* op : gemvs) {
        op->g = g;
        op->eps = c_.rms_norm_eps;
        op->prologue = isa::Prologue::kRmsNorm;
      }
      return;
    }
    isa::RmsNormOperands norm;
    norm.x = x;
    norm.g = g;
    norm.y = Activation(name, {c_.hidden_size});
    norm.k = norm.count = c_.hidden_size;
    norm.eps = c_.rms_norm_eps;
    for (isa::GemvOperands* op : gemvs) op->x = norm.y;
    Add(name, name, {norm});
  }

  // y = w x + residual: as the gemv's epilogue, or as two operations.
  uint32_t Project(const std::string& name, const std::string& y_name,
                   uint32_t x, uint32_t w, uint32_t residual) {
    isa::GemvOperands op = Gemv(x, w);
    if (g_.fuse) {
      op.epilogue = isa::Epilogue::kAdd;
      op.r = residual;
      op.y = Activation(y_name, {op.rows});
      Add(name, y_name, {op});
      return op.y;
    }
    op.y = Activation(name, {op.rows});
    Add(name, name, {op});
    isa::AddOperands add;
    add.a = op.y;
    add.b = residual;
    add.y = Activation(y_name, {op.rows});
    add.count = op.rows;
    Add(name + "_add", y_name, {add});
    return add.y;
  }

  void MakeLayer(uint32_t layer) {
    const std::string l = absl::StrFormat("L%02d.", layer);
    const std::string w = absl::StrCat("model.layers.", layer, ".");
    const uint32_t att = MakeAttention(l, w);
    const uint32_t x1 = Project(
        l + "o", l + "x1", att,
        Matrix(w + "self_attn.o_proj.weight", c_.hidden_size, q_rows()), x_);
    const uint32_t h = MakeGateUp(l, w, x1);
    x_ = Project(l + "down", absl::StrFormat("L%02d.x", layer + 1), h,
                 Matrix(w + "mlp.down_proj.weight", c_.hidden_size,
                        c_.intermediate_size),
                 x1);
  }

  // The attention block of a layer, from x_ to what o_proj multiplies.
  uint32_t MakeAttention(const std::string& l, const std::string& w) {
    const uint32_t input_norm =
        Vector(w + "input_layernorm.weight", c_.hidden_size);
    const std::string a = w + "self_attn.";
    isa::GemvOperands q =
        Gemv(x_, Matrix(a + "q_proj.weight", q_rows(), c_.hidden_size));
    isa::GemvOperands k =
        Gemv(x_, Matrix(a + "k_proj.weight", kv_rows(), c_.hidden_size));
    isa::GemvOperands v =
        Gemv(x_, Matrix(a + "v_proj.weight", kv_rows(), c_.hidden_size));
    q.y = Activation(l + "q", {q_rows()});
    k.y = Activation(l + "k", {kv_rows()});
    v.y = Activation(l + "v", {kv_rows()});
    Normalize(l + "attn_norm", input_norm, {&q, &k, &v});
    Add(l + "qkv", l + "qkv", {q, k, v}, /*per_kv_head=*/true);

    isa::AttentionOperands attention;
    attention.q = q.y;
    attention.group = group();
    attention.head_dim = c_.head_dim;
    attention.splits = g_.splits;
    attention.block = g_.kv_block;
    attention.eps = c_.rms_norm_eps;
    MakeCache(l, attention);
    const uint32_t q_norm = Vector(a + "q_norm.weight", c_.head_dim);
    const uint32_t k_norm = Vector(a + "k_norm.weight", c_.head_dim);
    if (g_.fuse) {
      attention.k = k.y;
      attention.v = v.y;
      attention.q_norm = q_norm;
      attention.k_norm = k_norm;
      attention.rope = rope_;
      attention.prologue = isa::AttentionPrologue::kQkNormRope;
    } else {
      MakeAppend(l, q_norm, k_norm, k.y, v.y, attention);
    }
    isa::AttentionMergeOperands merge;
    merge.part = attention.part;
    merge.y = Activation(l + "att", {q_rows()});
    merge.alone = g_.alone;
    merge.block = g_.idle_splits ? g_.kv_block : 0;
    merge.group = group();
    merge.head_dim = c_.head_dim;
    merge.splits = g_.splits;
    merge.count = c_.head_dim;
    if (g_.alone > 0) {
      attention.y = merge.y;  // of split 0; lowering takes it from the others
      attention.alone = g_.alone;
    }
    Add(l + "attn", l + "part", {attention}, /*per_kv_head=*/true);
    Add(l + "merge", l + "att", {merge});
    return merge.y;
  }

  void MakeCache(const std::string& l, isa::AttentionOperands& attention) {
    const std::vector<uint64_t> shape = {uint64_t{c_.num_kv_heads} * g_.splits,
                                         g_.kv_capacity, c_.head_dim};
    attention.k_cache =
        Tensor(l + "k_cache", DType::kBf16, BufferKind::kState, shape);
    attention.v_cache =
        Tensor(l + "v_cache", DType::kBf16, BufferKind::kState, shape);
    attention.part = Activation(
        l + "part",
        {c_.num_kv_heads, g_.splits, group(), uint64_t{c_.head_dim} + 4});
  }

  void MakeAppend(const std::string& l, uint32_t q_norm, uint32_t k_norm,
                  uint32_t k, uint32_t v, isa::AttentionOperands& attention) {
    isa::QkNormRopeAppendOperands append;
    append.q = attention.q;
    append.k = k;
    append.v = v;
    append.q_norm = q_norm;
    append.k_norm = k_norm;
    append.rope = rope_;
    append.k_cache = attention.k_cache;
    append.v_cache = attention.v_cache;
    append.q_out = Activation(l + "q_rope", {q_rows()});
    append.group = attention.group;
    append.head_dim = attention.head_dim;
    append.splits = attention.splits;
    append.block = attention.block;
    append.eps = attention.eps;
    attention.q = append.q_out;
    attention.eps = 0;
    Add(l + "append", l + "append", {append}, /*per_kv_head=*/true);
  }

  // The first half of the MLP, from x1 to what down_proj multiplies.
  uint32_t MakeGateUp(const std::string& l, const std::string& w, uint32_t x1) {
    const uint64_t ff = c_.intermediate_size;
    const uint32_t norm =
        Vector(w + "post_attention_layernorm.weight", c_.hidden_size);
    isa::GemvOperands gate =
        Gemv(x1, Matrix(w + "mlp.gate_proj.weight", ff, c_.hidden_size));
    isa::GemvOperands up =
        Gemv(x1, Matrix(w + "mlp.up_proj.weight", ff, c_.hidden_size));
    Normalize(l + "mlp_norm", norm, {&gate, &up});
    if (g_.fuse) {
      gate.epilogue = isa::Epilogue::kSiluMul;
      gate.w2 = up.w;
      gate.y = Activation(l + "h", {ff});
      Add(l + "gate_up", l + "h", {gate});
      return gate.y;
    }
    gate.y = Activation(l + "gate", {ff});
    up.y = Activation(l + "up", {ff});
    Add(l + "gate_up", l + "gate_up", {gate, up});
    isa::SiluMulOperands silu;
    silu.gate = gate.y;
    silu.up = up.y;
    silu.y = Activation(l + "h", {ff});
    silu.count = c_.intermediate_size;
    Add(l + "silu_mul", l + "h", {silu});
    return silu.y;
  }

  void MakeHead() {
    const uint32_t norm = Vector("model.norm.weight", c_.hidden_size);
    isa::GemvOperands head = Gemv(x_, head_);
    Normalize("final_norm", norm, {&head});
    if (g_.logits || g_.sampling) {
      head.y = Tensor("logits", DType::kF32, BufferKind::kActivation,
                      {c_.vocab_size});
    }
    MakeAdvance(g_.sampling ? MakeSample(head) : MakeArgmax(head));
  }

  // The LM head with the choice of the most probable token; fused, that is
  // advance's.
  uint32_t MakeArgmax(isa::GemvOperands head) {
    head.epilogue = isa::Epilogue::kArgmax;
    head.best = Tensor("best.partial", DType::kRanked, BufferKind::kActivation,
                       {g_.workers});
    Add("lm_head", "best.partial", {head});
    graph_.ops.back().every_worker = true;
    if (g_.fuse) return head.best;
    isa::ArgmaxOperands argmax;
    argmax.x = head.best;
    argmax.y = Tensor("best", DType::kRanked, BufferKind::kActivation, {1});
    argmax.n = g_.workers;
    Add("argmax", "best", {argmax});
    return argmax.y;
  }

  // The LM head with a choice by vm::SamplingOptions: every worker looks at a
  // slice of the logits, one chooses.
  uint32_t MakeSample(const isa::GemvOperands& head) {
    const uint64_t slices = SampleSlices(c_.vocab_size, g_).size() - 1;
    Add("lm_head", "logits", {head});
    graph_.ops.back().every_worker = true;
    graph_.ops.back().per_share = true;
    isa::SampleSliceOperands slice;
    slice.logits = head.y;
    slice.numbers =
        Tensor("sampling.numbers", DType::kF32, BufferKind::kInput, {8});
    slice.ints = Tensor("sampling.ints", DType::kI32, BufferKind::kInput, {8});
    slice.counts = Tensor("token_counts", DType::kI32, BufferKind::kState,
                          {c_.vocab_size});
    slice.best = Tensor("slices.best", DType::kRanked, BufferKind::kActivation,
                        {slices, 8});
    slice.groups = Tensor("slices.groups", DType::kF32, BufferKind::kActivation,
                          {slices, 8, 4});
    slice.count = c_.vocab_size;
    Add("sample_slice", "slices", {slice});
    isa::SampleOperands sample;
    sample.logits = slice.logits;
    sample.best = slice.best;
    sample.groups = slice.groups;
    sample.numbers = slice.numbers;
    sample.ints = slice.ints;
    sample.run = run_;
    sample.counts = slice.counts;
    sample.logprobs =
        Tensor("logprobs", DType::kRanked, BufferKind::kState,
               {uint64_t{g_.max_context} + 1, uint64_t{g_.logprobs} + 1});
    sample.y = Tensor("best", DType::kRanked, BufferKind::kActivation, {1});
    sample.n = c_.vocab_size;
    Add("sample", "best", {sample});
    return sample.y;
  }

  void MakeAdvance(uint32_t best) {
    isa::AdvanceOperands advance;
    advance.best = best;
    advance.run = run_;
    advance.eos = eos_;
    advance.tokens = tokens_;
    advance.stop = stop_;
    Add("advance", "advanced", {advance});

    isa::HaltOperands halt;
    halt.stop = stop_;
    Add("halt", "", {halt});
  }

  const model::Config& c_;
  const Geometry& g_;
  Graph graph_;
  uint32_t tokens_ = 0, run_ = 0, eos_ = 0, stop_ = 0, rope_ = 0;
  uint32_t head_ = 0;  // weight of the LM head
  uint32_t x_ = 0;     // residual stream so far
};

}  // namespace

std::vector<uint32_t> SampleSlices(uint32_t vocab_size,
                                   const Geometry& geometry) {
  constexpr uint64_t kMaxRows = 2048;
  const uint64_t unit = geometry.row_unit;
  const uint64_t units = (vocab_size + unit - 1) / unit;
  const uint64_t shares = std::min<uint64_t>(units, geometry.workers);
  std::vector<uint32_t> begins;
  for (uint64_t share = 0; share < shares; ++share) {
    const uint64_t begin = share * units / shares * unit;
    const uint64_t end =
        std::min<uint64_t>((share + 1) * units / shares * unit, vocab_size);
    const uint64_t parts = (end - begin + kMaxRows - 1) / kMaxRows;
    for (uint64_t part = 0; part < parts; ++part) {
      begins.push_back(
          static_cast<uint32_t>(begin + part * (end - begin) / parts));
    }
  }
  begins.push_back(vocab_size);
  return begins;
}

Graph BuildGraph(const model::Config& config, const Geometry& geometry) {
  return Builder(config, geometry).Build();
}

isa::Instruction EncodePart(const Part& part) {
  return std::visit([](const auto& op) { return isa::Encode(op); }, part);
}

}  // namespace mkvm::scheduler
