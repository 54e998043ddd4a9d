// What is told of a package before its code is loaded: does it fit the machine and its declaration.

#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serve/runtime/aoti/check_inputs.h"
#include "serve/runtime/aoti/compiled_inputs.h"
#include "serve/runtime/aoti/host_cpu.h"
#include "tests/model_store/archive/test_files.h"

namespace serve {
namespace {

using testing::AllOf;
using testing::HasSubstr;

using Metadata = std::map<std::string, std::string>;

const HostCpu kLaptop = {"linux", "x86_64", "Laptop CPU", {"avx2", "fma", "f16c"}};
const HostCpu kServer = {
    "linux",
    "x86_64",
    "Server CPU",
    {"avx2", "fma", "f16c", "avx512f", "avx512dq", "avx512vl", "avx512bw", "avx512_vnni"}};

Metadata For(const std::string& isa) {
  return {{"AOTI_DEVICE_KEY", "cpu"},
          {"AOTI_PLATFORM", "linux"},
          {"AOTI_MACHINE", "x86_64"},
          {"AOTI_CPU_ISA", isa}};
}

std::string Refusal(const Status& status) {
  EXPECT_EQ(status.code, Code::kInvalidArgument);
  return status.message;
}

TEST(CheckFitsTest, APackageRunsWhereTheCpuHasItsInstructions) {
  EXPECT_TRUE(CheckFits(For("AVX2"), kLaptop).ok());
  EXPECT_TRUE(CheckFits(For("AVX2"), kServer).ok());
  EXPECT_TRUE(CheckFits(For("AVX512 AVX512_VNNI"), kServer).ok());
  EXPECT_TRUE(CheckFits(For("INVALID_VEC_ISA"), kLaptop).ok());
  EXPECT_TRUE(CheckFits(For(""), kLaptop).ok());
}

TEST(CheckFitsTest, MissingInstructionsAreNamedWithBothCpus) {
  EXPECT_THAT(Refusal(CheckFits(For("AVX512 AVX512_VNNI"), kLaptop)),
              AllOf(HasSubstr("AVX512 AVX512_VNNI"), HasSubstr("Laptop CPU"), HasSubstr("avx512f, avx512dq"),
                    HasSubstr("avx512_vnni"), HasSubstr("ATEN_CPU_CAPABILITY")));
  EXPECT_THAT(Refusal(CheckFits(For("AVX512 AVX512_VNNI AMX_TILE"), kServer)),
              HasSubstr("lacks amx_tile, amx_bf16, amx_int8"));
}

TEST(CheckFitsTest, AnInstructionSetOfTheFutureIsLookedUpByItsName) {
  HostCpu future = kLaptop;
  EXPECT_THAT(Refusal(CheckFits(For("AVX2 AVX10"), future)), HasSubstr("lacks avx10"));
  future.flags.insert("avx10");
  EXPECT_TRUE(CheckFits(For("AVX2 AVX10"), future).ok());
}

TEST(CheckFitsTest, AnotherDeviceOrMachineIsRefusedBeforeTheInstructions) {
  Metadata metadata = For("AVX512");
  metadata["AOTI_MACHINE"] = "aarch64";
  EXPECT_THAT(Refusal(CheckFits(metadata, kLaptop)),
              HasSubstr("compiled for linux on aarch64, this machine is linux on x86_64"));
  metadata["AOTI_DEVICE_KEY"] = "cuda";
  EXPECT_THAT(Refusal(CheckFits(metadata, kLaptop)), HasSubstr("the device cuda"));
  EXPECT_THAT(Refusal(CheckFits({}, kLaptop)), HasSubstr("does not say for which device"));
}

TEST(HostCpuTest, FlagsAndNameComeFromTheFirstProcessor) {
  const TemporaryFolder folder;
  folder.Write("intel",
               "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz\nflags\t\t: fpu avx2 fma\nbugs\t\t: x\n\n"
               "processor\t: 1\nflags\t\t: other\n");
  const HostCpu intel = ReadHostCpu(folder / "intel");
  EXPECT_EQ(intel.name, "Some CPU @ 2.0GHz");
  EXPECT_EQ(intel.flags, (std::set<std::string>{"fpu", "avx2", "fma"}));
  folder.Write("arm", "processor\t: 0\nFeatures\t: fp asimd sve\n");
  const HostCpu arm = ReadHostCpu(folder / "arm");
  EXPECT_TRUE(arm.flags.contains("asimd"));
  EXPECT_FALSE(arm.name.empty());
  EXPECT_TRUE(ReadHostCpu(folder / "missing").flags.empty());
}

const std::vector<TensorSpec> kDeclared = {{"x", DType::kFloat32, {3, -1}}, {"ids", DType::kInt64, {}}};

std::vector<Tensor> Inputs(std::vector<std::int64_t> x, std::vector<std::int64_t> ids) {
  return {Tensor::Empty(DType::kFloat32, std::move(x)), Tensor::Empty(DType::kInt64, std::move(ids))};
}

TEST(CheckInputsTest, TellsTheRowsOfInputsThatAreAsDeclared) {
  EXPECT_EQ(*CheckInputs(Inputs({2, 3, 7}, {2}), kDeclared, {1, 8}), 2);
  EXPECT_EQ(*CheckInputs(Inputs({8, 3, 0}, {8}), kDeclared, {1, 8}), 8);
  EXPECT_EQ(*CheckInputs(Inputs({1, 3, 7}, {1}), kDeclared, {8, 8}), 1) << "fewer are filled up";
}

TEST(CheckInputsTest, EveryDifferenceIsRefused) {
  const auto refused = [](const std::vector<Tensor>& inputs) {
    const Result<std::int64_t> rows = CheckInputs(inputs, kDeclared, {1, 8});
    return rows ? std::string("taken") : Refusal(rows.error());
  };
  EXPECT_THAT(refused({}), HasSubstr("takes 2 inputs, the request has 0"));
  std::vector<Tensor> three = Inputs({2, 3, 7}, {2});
  three.push_back(three[1]);
  EXPECT_THAT(refused(three), HasSubstr("the request has 3"));
  EXPECT_THAT(refused(Inputs({2, 4, 7}, {2})),
              AllOf(HasSubstr("x:float32:[3, -1]"), HasSubstr("float32 [2, 4, 7]")));
  EXPECT_THAT(refused(Inputs({2, 3}, {2})), HasSubstr("float32 [2, 3]")) << "rank";
  EXPECT_THAT(refused(Inputs({}, {2})), HasSubstr("float32 []")) << "no batch dimension";
  EXPECT_THAT(refused(Inputs({2, 3, 7}, {3})), HasSubstr("the input x has 2 rows, the input ids has 3"));
  EXPECT_THAT(refused(Inputs({9, 3, 7}, {9})), HasSubstr("9 rows, the model takes 1 to 8"));
  EXPECT_THAT(refused(Inputs({0, 3, 7}, {0})), HasSubstr("0 rows"));
  std::vector<Tensor> typed = Inputs({2, 3, 7}, {2});
  typed[1].dtype = DType::kInt32;
  EXPECT_THAT(refused(typed), AllOf(HasSubstr("ids:int64"), HasSubstr("int32 [2]")));
}

/// The generated code of a package with the inputs float32 [batch, 3, 8] and int64 [4], as far as it matters.
constexpr const char* kSource = R"(
int64_t arg0_1_size[1] = {7};
AOTI_NOINLINE static void check_input_0(
    AtenTensorHandle* input_handles
) {
    ConstantHandle arg0_1 = ConstantHandle(input_handles[0]);
    int32_t arg0_1_expected_dtype = aoti_torch_dtype_float32();
    if (arg0_1_expected_dtype != arg0_1_dtype) {
    }
    if (arg0_1_size[0] < 2) {
    }
    if (arg0_1_size[0] > 15) {
    }
    if (3 != arg0_1_size[1]) {
           << "expected: 99, " << "but got: " << arg0_1_size[1]
    }
    if (8 != arg0_1_size[2]) {
    }
    if (24 != arg0_1_stride[0]) {
    }
    if (1 != arg0_1_stride[2]) {
    }
}
AOTI_NOINLINE static void check_input_1(
    AtenTensorHandle* input_handles
) {
    int32_t mask_expected_dtype = aoti_torch_dtype_int64();
    if (4 != mask_size[0]) {
    }
    if (1 != mask_stride[0]) {
    }
}
void run() {
    if (5 != mask_size[3]) {
    }
}
)";

std::vector<CompiledInput> Compiled() {
  std::istringstream source(kSource);
  return ReadCompiledInputs(source);
}

TEST(CompiledInputsTest, TypesSizesAndStridesAreRead) {
  const std::vector<CompiledInput> inputs = Compiled();
  ASSERT_EQ(inputs.size(), 2U);
  using Dims = std::map<std::size_t, std::int64_t>;
  EXPECT_EQ(inputs[0].dtype, DType::kFloat32);
  EXPECT_EQ(inputs[0].sizes, (Dims{{1, 3}, {2, 8}}));
  EXPECT_EQ(inputs[0].strides, (Dims{{0, 24}, {2, 1}}));
  EXPECT_EQ(inputs[1].dtype, DType::kInt64);
  EXPECT_EQ(inputs[1].sizes, (Dims{{0, 4}}));
}

TEST(CompiledInputsTest, ADeclarationThatFitsIsTakenAndAContradictionIsNamed) {
  std::vector<CompiledInput> compiled = Compiled();
  const TensorSpec x{"x", DType::kFloat32, {3, 8}};
  const TensorSpec mask{"mask", DType::kInt64, {}};
  EXPECT_TRUE(CheckDeclaration(compiled, {x, mask}, {4, 4}).ok());
  EXPECT_THAT(Refusal(CheckDeclaration(compiled, {x, mask}, {1, 4})), HasSubstr("exactly 4 rows of mask"));
  EXPECT_THAT(Refusal(CheckDeclaration(compiled, {x}, {4, 4})), HasSubstr("1 inputs are declared"));
  EXPECT_THAT(Refusal(CheckDeclaration(compiled, {x, {"mask", DType::kInt32, {}}}, {4, 4})),
              AllOf(HasSubstr("mask:int32:[]"), HasSubstr("compiled for int64")));
  EXPECT_THAT(Refusal(CheckDeclaration(compiled, {{"x", DType::kFloat32, {3, 9}}, mask}, {4, 4})),
              HasSubstr("the size 8 in place 2"));
  EXPECT_THAT(Refusal(CheckDeclaration(compiled, {{"x", DType::kFloat32, {3}}, mask}, {4, 4})),
              HasSubstr("2 dimensions behind the batch"));
  compiled[0].strides[2] = 3;
  EXPECT_THAT(Refusal(CheckDeclaration(compiled, {x, mask}, {4, 4})), HasSubstr("channels-last"));
}

TEST(CompiledInputsTest, BoundsThatTheCompilerNarrowedRefuseNothing) {
  std::vector<CompiledInput> compiled = {Compiled()[0]};
  EXPECT_TRUE(CheckDeclaration(compiled, {{"x", DType::kFloat32, {3, 8}}}, {1, 64}).ok());
}

TEST(CompiledInputsTest, WithoutSourcesNothingIsRefused) {
  std::istringstream nothing("int main() {}");
  EXPECT_TRUE(CheckDeclaration(ReadCompiledInputs(nothing), {}, {1, 1}).ok());
}

}  // namespace
}  // namespace serve
