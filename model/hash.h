// Integer hashes whose values are part of what mkvm promises: fingerprints in
// program files and synthetic weights. Never change one. Private to model/.
#ifndef MKVM_MODEL_HASH_H_
#define MKVM_MODEL_HASH_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace mkvm::model {

// One step of SplitMix64 (Steele, Lea, Flood 2014): a bijection whose output
// bits each depend on every input bit.
inline uint64_t Mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// FNV-1a, mixed once more.
inline uint64_t HashName(absl::string_view name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) {
    hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  }
  return Mix64(hash);
}

}  // namespace mkvm::model

#endif  // MKVM_MODEL_HASH_H_
