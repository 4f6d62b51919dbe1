"""ONNX's operators that are known to multiply no matrices."""

from __future__ import annotations

from types import MappingProxyType

from hwcost.importers.naming import words

__all__ = ["DRAWS", "ELEMENTWISE", "LOOK_UPS", "OTHERS", "TRAINED", "VIEWS"]

ELEMENTWISE = words(
    """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
    Cast CastLike Ceil Celu Clip Cos Cosh Div Dropout Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid
    HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow
    RandomNormalLike RandomUniformLike Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt
    Sub Sum SwiGLU Swish Tan Tanh ThresholdedRelu Where Xor
    """
) | words("BiasAdd BiasDropout BiasGelu BitmaskDropout FastGelu QuickGelu")
"""Operators that work element by element on tensors that are broadcast."""

VIEWS = words(
    """
    Expand Flatten Identity Reshape Squeeze Tile Unsqueeze Shape Size Optional OptionalGetElement OptionalHasElement
    SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength
    """
)
"""Operators that move nothing: they return the same elements in another shape or again, or only a shape."""

LOOK_UPS = words("Gather GatherElements GatherND Slice EmbedLayerNormalization")
"""Operators that read no more of a table than they write."""

OTHERS = words(
    """
    BlackmanWindow Col2Im Compress Constant ConstantOfShape EyeLike GridSample HammingWindow HannWindow ImageDecoder
    MaxRoiPool MelWeightMatrix Multinomial NegativeLogLikelihoodLoss NonMaxSuppression NonZero OneHot RandomNormal
    RandomUniform Range RegexFullMatch RoiAlign Scatter SoftmaxCrossEntropyLoss StringConcat StringNormalizer
    StringSplit TfIdfVectorizer TopK Unique
    """
) | words(
    """
    BiasSplitGelu CropAndResize ExpandDims GatherBlockQuantized IsAllFinite MaxpoolWithMask MurmurHash3
    NGramRepeatBlock NhwcMaxPool QLinearAveragePool QLinearReduceMean QLinearWhere RemovePadding RestorePadding
    SampleOp SkipGroupNorm Tokenizer UnfoldTensor
    """
)
"""Other operators that multiply nothing, and about whose axes nothing is known."""

DRAWS = words("Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike")
"""Operators that draw: what they return differs each time, even if all inputs are parameters."""

TRAINED = MappingProxyType({"Dropout": 2, "BitmaskDropout": 2, "BiasDropout": 4})
"""Operators that draw in training, and the input that says whether it is training."""
