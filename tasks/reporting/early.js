try {
  const theme = localStorage.getItem("rec-denoiser-theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  // Nothing was remembered.
}
