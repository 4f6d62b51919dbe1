"""PyTorch's operators that multiply no matrices: those that are known to be free, and those that need values."""

from __future__ import annotations

from hwcost.importers.naming import words

__all__ = [
    "CHECKS",
    "CONSTANTS",
    "COPIES",
    "DRAWS",
    "ELEMENTWISE",
    "FILLED",
    "LOOK_UPS",
    "MOVE_ONLY",
    "NEED_DATA",
    "VIEWS",
]


NEED_DATA = words(
    """
    _local_scalar_dense _unique _unique2 allclose bincount equal is_nonzero item masked_select nonzero nonzero_numpy
    repeat_interleave unique_consecutive unique_dim
    """
)
"""Operators whose result, or whose shape, depends on values."""

CONSTANTS = words(
    """
    arange bartlett_window bernoulli blackman_window cauchy empty empty_like empty_permuted empty_strided
    exponential eye fill from_file full full_like geometric hamming_window hann_window kaiser_window lift lift_fresh
    lift_fresh_copy linspace logspace new_empty new_empty_strided new_full new_ones new_zeros normal ones ones_like
    rand rand_like randint randint_like randn randn_like randperm resize scalar_tensor tril_indices triu_indices
    uniform zero zeros zeros_like
    """
)
"""Operators whose result has nothing to do with the axes of their inputs: constants that a compiler would keep."""

FILLED = words("full_like new_full new_ones new_zeros ones_like zeros_like")
"""Operators that fill a tensor with a number, whatever the values of their inputs."""

VIEWS = words(
    """
    _reshape_alias _reshape_copy _unsafe_view alias as_strided detach squeeze swapaxes swapdims t transpose
    unsafe_chunk unsafe_split unsafe_split_with_sizes unsqueeze
    """
)
"""Views that PyTorch does not mark as such, for example those that work in place."""

DRAWS = words(
    """
    _standard_gamma bernoulli cauchy exponential geometric log_normal multinomial native_dropout normal poisson rand
    rand_like randint randint_like randn randn_like random randperm rrelu_with_noise uniform
    """
)
"""Operators whose result is random, so that it is no constant."""

ELEMENTWISE = words(
    """
    _prelu_kernel _standard_gamma addcdiv addcmul alpha_dropout binomial bucketize celu clamp clip complex copy
    copysign dropout elu fake_quantize_per_channel_affine fake_quantize_per_channel_affine_cachemask
    fake_quantize_per_tensor_affine fake_quantize_per_tensor_affine_cachemask feature_dropout floor_divide gelu glu
    hardsigmoid hardswish hardtanh isfinite isinf isnan leaky_relu lerp log_sigmoid log_sigmoid_forward masked_fill
    masked_scatter mish nan_to_num poisson polar prelu rrelu rrelu_with_noise rsub selu silu softplus softshrink
    threshold where
    """
)
"""Operators without a row that work element by element, but are not marked as such."""

MOVE_ONLY = words(
    """
    _assert_async _assert_scalar _assert_tensor_metadata _chunk_cat _ctc_loss _cudnn_ctc_loss _embedding_bag
    _embedding_bag_forward_only _is_all_true _is_any_true _linalg_check_errors _masked_softmax _pack_padded_sequence
    _pad_packed_sequence _pin_memory _print _segment_reduce _stack _unsafe_index _unsafe_index_put
    _unsafe_masked_index _upsample_nearest_exact3d _weight_norm_interface adaptive_avg_pool1d affine_grid_generator
    aminmax argsort as_strided_scatter avg_pool1d batch_norm_update_stats binary_cross_entropy
    binary_cross_entropy_with_logits block_diag can_cast cdist channel_shuffle col2im combinations
    cosine_embedding_loss cosine_similarity count_nonzero cross cross_entropy_loss cummax cummin diag diag_embed
    diagonal_scatter diff dist embedding_renorm expand_copy fft_fftshift fft_ifftshift fractional_max_pool2d
    fractional_max_pool3d glu_jvp grid_sampler_2d grid_sampler_3d hinge_embedding_loss histc histogram hstack
    huber_loss im2col index index_add index_copy index_fill index_put index_reduce is_pinned is_same_size is_set_to
    isin kl_div kthvalue linalg_norm linalg_vector_norm log_softmax logcumsumexp margin_ranking_loss max_pool1d
    max_pool2d max_pool3d max_unpool2d max_unpool3d median meshgrid miopen_batch_norm mode mse_loss
    multi_margin_loss multilabel_margin_loss_forward multinomial nanmean nanmedian nanquantile nansum narrow_copy
    native_channel_shuffle native_norm nll_loss2d_forward nll_loss_forward nonzero_static norm norm_except_dim
    one_hot pad pad_sequence pairwise_distance pixel_shuffle pixel_unshuffle poisson_nll_loss promote_types put
    quantile range record_stream renorm resize_as resize_output result_type rot90 row_stack scatter scatter_add
    scatter_reduce searchsorted segment_reduce select_backward select_scatter set slice_backward slice_scatter
    smooth_l1_loss soft_margin_loss softmax split_copy split_with_sizes_copy squeeze_copy sym_numel sym_size take
    take_along_dim tile to_padded_tensor trace transpose_copy tril triplet_margin_loss triu unbind_copy
    unfold_backward unfold_copy view_copy vstack
    """
)
"""Other operators without a row that multiply nothing."""

COPIES = words("clone contiguous repeat")
"""Operators that move nothing if the elements of their result repeat: a device needs each once."""

LOOK_UPS = words("_unsafe_index embedding gather index index_select take take_along_dim")
"""Operators that read no more of their table than they return."""

CHECKS = words("_assert_async _assert_scalar _assert_tensor_metadata sym_numel sym_size")
"""Checks, which move nothing."""
