"""The audit of a diffusion model that someone else trained: what its folder, and images beside it, say of its memory."""
