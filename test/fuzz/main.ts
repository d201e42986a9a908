/**
 * `npm run fuzz` for what is written in TypeScript: `main.ts [TARGET…] [--seconds N] [--inputs N] [--seed N] [--corpus DIR]`. Inputs that reach
 * new code stay in DIR/TARGET, so that the next run goes on from them; a finding is kept there as crash-…, and belongs into
 * test/fuzz/corpus/TARGET, which every run begins with. Without arguments it tells its targets. Its last line is `N passed, N failed`.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Bounds, fuzz } from './run.ts';
import { TARGETS } from './targets.ts';

const KEPT = fileURLToPath(new URL('./corpus', import.meta.url));
/** Of earlier runs; the seeds and findings come all. */
const CORPUS_MAX = 1_000;

function filesOf(folder: string): readonly Uint8Array[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .toSorted()
    .slice(0, CORPUS_MAX)
    .map((name) => readFileSync(join(folder, name)));
}

/** Whether nothing was found. */
async function run(name: string, bounds: Bounds, corpus: string | undefined): Promise<boolean> {
  const folder = corpus === undefined ? undefined : join(corpus, name);
  if (folder !== undefined) mkdirSync(folder, { recursive: true });
  const from = performance.now();
  const before = [...filesOf(join(KEPT, name)), ...(folder === undefined ? [] : filesOf(folder))];
  const { inputs, blocks, finding, fresh } = await fuzz(name, before, bounds);
  const rate = Math.round((inputs * 1_000) / (performance.now() - from));
  const keep = (prefix: string, bytes: Uint8Array): string | undefined => {
    const file = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
    if (folder !== undefined) writeFileSync(join(folder, `${prefix}${file}`), bytes);
    return folder === undefined ? undefined : join(folder, `${prefix}${file}`);
  };
  for (const bytes of fresh) keep('', bytes);
  console.log(
    `${finding === undefined ? 'ok' : 'not ok'} - ${name}: ${inputs} inputs, ${rate}/s, ${blocks} blocks, seed ${bounds.seed}`,
  );
  if (finding === undefined) return true;
  console.log(
    `${finding.what.slice(0, 4_000)}\n  input: ${keep('crash-', finding.bytes) ?? Buffer.from(finding.bytes).toString('base64').slice(0, 2_000)}`,
  );
  return false;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seconds: { type: 'string', default: '60' },
      inputs: { type: 'string', default: '-1' },
      seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
      corpus: { type: 'string' },
    },
  });
  const names = TARGETS.map(({ name }) => name);
  if (positionals.length === 0 || positionals.some((name) => !names.includes(name))) {
    console.error(names.join('\n'));
    return positionals.length === 0 ? 0 : 2;
  }
  const inputs = Number(values.inputs) < 0 ? Number.POSITIVE_INFINITY : Number(values.inputs);
  const bounds = { seed: Number(values.seed), inputs, seconds: Number(values.seconds) };
  const scratch = mkdtempSync(join(tmpdir(), 'covey-fuzzing-'));
  process.env.COVEY_FUZZ_DIR = scratch;
  let failed = 0;
  try {
    for (const name of positionals) if (!(await run(name, bounds, values.corpus))) failed += 1;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  console.log(`${positionals.length - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

process.exit(await main());
