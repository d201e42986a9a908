import { defineConfig } from 'vitest/config';

/** One project per kind of test; what each may touch is in docs/testing.md. */
const project = (name: string, testTimeout: number, fileParallelism: boolean) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout,
    hookTimeout: testTimeout,
    fileParallelism,
    maxWorkers: fileParallelism ? 2 : 1,
  },
});

export default defineConfig({
  test: {
    pool: 'forks',
    projects: [
      project('unit', 10_000, true),
      project('sim', 300_000, true),
      project('integration', 60_000, true),
      project('e2e', 300_000, false),
    ],
  },
});
