import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [react()],
  base: '/',
  // The CSP allows no inline script and no data: address, so nothing is inlined.
  build: { target: 'es2022', assetsInlineLimit: 0, modulePreload: { polyfill: false }, sourcemap: false, reportCompressedSize: false },
  test: { environment: 'happy-dom', css: false, include: ['test/**/*.test.{ts,tsx}'] },
});
