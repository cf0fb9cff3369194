// JSON as Python's json.dumps(value, ensure_ascii=False) writes it, which is
// what chat templates print. Private to model/.
#ifndef MKVM_MODEL_PYTHON_JSON_H_
#define MKVM_MODEL_PYTHON_JSON_H_

#include <string>

#include "model/json.h"

namespace mkvm::model {

// `value` from ParseOrderedJson.
std::string DumpAsPython(const OrderedJson& value);

// A float as Python's repr: 1.0, 1e-05, 1e+16. REQUIRES: `value` is finite.
std::string PythonRepr(double value);

}  // namespace mkvm::model

#endif  // MKVM_MODEL_PYTHON_JSON_H_
