"""PyTorch's operators that multiply no matrices: those that are known to be free, and those that need values."""

from __future__ import annotations

__all__ = ["CHECKS", "CONSTANTS", "ELEMENTWISE", "LOOK_UPS", "MOVE_ONLY", "NEED_DATA", "VIEWS"]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEED_DATA = _names(
    """
    _local_scalar_dense _unique2 allclose bincount equal histc is_nonzero item masked_select nonzero nonzero_numpy
    repeat_interleave unique_consecutive unique_dim
    """
)
"""Operators whose result, or whose shape, depends on values."""

CONSTANTS = _names(
    """
    arange bernoulli empty empty_like empty_strided eye fill full full_like hamming_window hann_window lift
    lift_fresh lift_fresh_copy linspace logspace new_empty new_empty_strided new_full new_ones new_zeros normal ones
    ones_like rand rand_like randint randint_like randn randn_like randperm resize scalar_tensor tril_indices
    triu_indices uniform zero zeros zeros_like
    """
)
"""Operators whose result has nothing to do with the axes of their inputs: constants that a compiler would keep."""

VIEWS = _names(
    """
    _reshape_alias _reshape_copy _unsafe_view alias as_strided detach squeeze swapaxes swapdims t transpose unsafe_chunk
    unsafe_split unsafe_split_with_sizes unsqueeze
    """
)
"""Views that PyTorch does not mark as such, for example those that work in place."""

ELEMENTWISE = _names(
    """
    _prelu_kernel _to_copy addcdiv addcmul alpha_dropout bucketize celu clamp clip clone contiguous copy dropout elu
    fake_quantize_per_channel_affine fake_quantize_per_channel_affine_cachemask fake_quantize_per_tensor_affine
    fake_quantize_per_tensor_affine_cachemask feature_dropout gelu glu hardsigmoid hardswish hardtanh isfinite isinf
    isnan leaky_relu lerp log_sigmoid log_sigmoid_forward masked_fill masked_scatter mish nan_to_num native_dropout
    prelu rrelu rrelu_with_noise selu silu softplus softshrink threshold where
    """
)
"""Operators that work element by element, but are not marked as such."""

MOVE_ONLY = _names(
    """
    _adaptive_avg_pool2d _adaptive_avg_pool3d _assert_async _assert_scalar _assert_tensor_metadata
    _batch_norm_no_update _batch_norm_with_update _cdist_forward _embedding_bag _embedding_bag_forward_only
    _fused_rms_norm _log_softmax _native_batch_norm_legit _native_batch_norm_legit_functional
    _native_batch_norm_legit_no_training _pack_padded_sequence _pad_packed_sequence _safe_softmax _softmax
    _unsafe_index _unsafe_index_put _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d
    _upsample_nearest_exact2d _upsample_nearest_exact3d _weight_norm_interface adaptive_avg_pool1d
    adaptive_max_pool2d adaptive_max_pool3d affine_grid_generator all amax amin aminmax any argmax argmin argsort
    as_strided_scatter avg_pool1d avg_pool2d avg_pool3d batch_norm_update_stats binary_cross_entropy
    binary_cross_entropy_with_logits cat cdist channel_shuffle col2im constant_pad_nd cosine_similarity
    count_nonzero cross cross_entropy_loss cudnn_batch_norm cummax cummin cumprod cumsum diag diag_embed
    diagonal_scatter embedding expand_copy flip fractional_max_pool2d fractional_max_pool3d gather grid_sampler_2d
    grid_sampler_3d hstack huber_loss im2col index index_add index_copy index_fill index_put index_select isin
    kl_div kthvalue linalg_norm linalg_vector_norm log_softmax logcumsumexp logsumexp max max_pool1d max_pool2d
    max_pool2d_with_indices max_pool3d max_pool3d_with_indices max_unpool2d max_unpool3d mean median meshgrid min
    miopen_batch_norm mode mse_loss multinomial nanmean nanmedian nansum native_batch_norm native_channel_shuffle
    native_group_norm native_layer_norm nll_loss2d_forward nll_loss_forward norm one_hot pad pad_sequence
    pairwise_distance pixel_shuffle pixel_unshuffle prod reflection_pad1d reflection_pad2d reflection_pad3d renorm
    repeat replication_pad1d replication_pad2d replication_pad3d roll rot90 scatter scatter_add scatter_reduce
    searchsorted select_backward select_scatter slice_backward slice_scatter smooth_l1_loss softmax sort
    split_with_sizes_copy stack std std_mean sum sym_numel sym_size take take_along_dim tile topk trace tril triu
    unfold_backward unfold_copy upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
    upsample_nearest2d upsample_nearest3d upsample_trilinear3d var var_mean view_copy vstack
    """
)
"""Norms, pooling, resizing, reductions, losses, concatenations, splits and look-ups."""

LOOK_UPS = _names(
    """
    _unsafe_index embedding gather index index_select take take_along_dim
    """
)
"""Those of them that read no more of their table than they return."""

CHECKS = _names(
    """
    _assert_async _assert_scalar _assert_tensor_metadata sym_numel sym_size
    """
)
"""Checks, which move nothing."""
