import { defineConfig } from 'vitest/config';

// JupyterLab's packages are written for a bundler: they are run through one, all with one React.
export default defineConfig({
  plugins: [
    {
      name: 'svg',
      enforce: 'pre',
      load(id: string) {
        return id.endsWith('.svg') ? `export default ${JSON.stringify('<svg xmlns="http://www.w3.org/2000/svg"/>')}` : null;
      }
    }
  ],
  resolve: { dedupe: ['react', 'react-dom'] },
  test: {
    environment: 'jsdom',
    include: ['src/**/__tests__/*.spec.{ts,tsx}'],
    setupFiles: ['src/__tests__/setup.ts'],
    css: false,
    server: { deps: { inline: [/@jupyterlab/, /@lumino/, /@jupyter/] } }
  }
});
