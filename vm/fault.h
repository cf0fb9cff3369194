// The fault record under the VM's name; ops/fault.h has the definition, since
// op bodies raise faults too.
#ifndef MKVM_VM_FAULT_H_
#define MKVM_VM_FAULT_H_

#include "ops/fault.h"

namespace mkvm::vm {

using ops::Fault;
using ops::FaultKind;

}  // namespace mkvm::vm

#endif  // MKVM_VM_FAULT_H_
