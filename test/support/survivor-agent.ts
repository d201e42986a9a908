/**
 * An agent that may be killed at any moment: `tsx survivor-agent.ts STATE CGROUP REQUESTS`. It takes over what it finds, makes
 * what is missing of the containers in REQUESTS (a JSON file of CreateRequest), compresses logs, and all the while makes,
 * watches and removes containers of its own. On stdout it tells a line of JSON each (SurvivorWord). It ends with its stdin.
 */
import { readFileSync } from 'node:fs';
import { compressLogs } from '../../agent/logs/compressor.ts';
import { NativeRuntime } from '../../agent/runtime/native-runtime.ts';
import type { Container, CreateRequest } from '../../agent/runtime/runtime.ts';
import { systemClock } from '../../common/clock.ts';
import { noLog } from '../../common/log.ts';
import { native } from '../../native/index.ts';

export type SurvivorWord =
  /** Everything that was there when it came. */
  | { readonly kind: 'found'; readonly containers: readonly Container[] }
  /** All that was asked for is there. */
  | { readonly kind: 'complete'; readonly containers: readonly Container[] }
  /** One of its own has ended as it should. */
  | { readonly kind: 'lived' };

/** Ids of its own containers; another agent removes what is left of them. */
const OWN = 'own-';
const CODES = 256;
const AT_ONCE = 4;

const [, , stateDir = '', cgroupParent = '', requestsPath = ''] = process.argv;
const requests = JSON.parse(readFileSync(requestsPath, 'utf8')) as readonly CreateRequest[];
const forever = new AbortController().signal;
const runtime = new NativeRuntime({ stateDir, cgroupParent, clock: systemClock, addon: native() });

function tell(word: SurvivorWord): void {
  process.stdout.write(`${JSON.stringify(word)}\n`);
}

/** Makes what is missing, starts what was only made. */
async function keep(found: readonly Container[]): Promise<void> {
  const states = new Map(found.map(({ id, state }) => [id, state]));
  const missing = requests.filter(({ id }) => (states.get(id) ?? 'created') === 'created');
  const work = async (): Promise<void> => {
    for (let next = missing.shift(); next !== undefined; next = missing.shift()) {
      if (!states.has(next.id)) await runtime.create(next, forever);
      await runtime.start(next.id, forever);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  tell({ kind: 'complete', containers: await runtime.list(forever) });
}

async function live(pattern: CreateRequest): Promise<never> {
  for (let i = 0; ; i = (i + 1) % CODES) {
    const id = `${OWN}${i}`;
    await runtime.create({ ...pattern, id, template: { ...pattern.template, args: ['exit', String(i)] } }, forever);
    await runtime.start(id, forever);
    const { code } = await runtime.wait(id, forever);
    if (code !== i) throw new Error(`${id} ended with ${code}`);
    await runtime.remove(id);
    tell({ kind: 'lived' });
  }
}

process.stdin.on('end', () => process.exit(0)).resume();
const found = await runtime.list(forever);
for (const { id } of found) if (id.startsWith(OWN)) await runtime.remove(id);
const containers = found.filter(({ id }) => !id.startsWith(OWN));
tell({ kind: 'found', containers });
const [pattern] = requests;
if (pattern === undefined) throw new Error(`${requestsPath} asks for nothing`);
await Promise.all([
  keep(containers),
  compressLogs({ runtime, clock: systemClock, log: noLog }, forever),
  live(pattern),
]);
