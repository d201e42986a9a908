/** `builder du` and `builder prune`: what builds keep on the nodes, and being rid of it. */
import type { Command } from 'commander';
import { formatBytes, parseBytes } from '../../common/units.ts';
import type { covey } from '../../proto/messages.ts';
import { agreed } from '../agreed.ts';
import { type EngineClient, interruptible, withCluster } from '../client.ts';
import { fromEach, nodesOf, usesOf } from '../each-node.ts';
import { addSwitch } from '../flags/switch.ts';
import { collected } from '../flags/values.ts';
import { BUILD_CACHE, CACHE_COLUMNS, cacheRows, cacheTotals } from '../format/build-cache.ts';
import { noFilter } from '../format/image-filter.ts';
import { render } from '../format/table.ts';
import { momentOf } from './image-removal.ts';

interface DuFlags {
  readonly node?: string;
  readonly format?: string;
}

interface PruneFlags {
  readonly node?: string;
  readonly all?: boolean;
  readonly force?: boolean;
  readonly keepStorage?: string;
  readonly filter: readonly string[];
}

/** Adds `builder`. */
export function addBuilderCommands(program: Command): void {
  const builder = program.command('builder').description('See what builds keep on the nodes, and be rid of it');
  builder
    .command('du')
    .description('Show the build cache: steps, contexts and cache mounts')
    .option('--node <node>', 'of one node only')
    .option('--format <format>', 'table, json or a template')
    .action(showCache);
  const prune = builder
    .command('prune')
    .description('Remove build cache that no build uses')
    .option('--node <node>', 'from one node only')
    .option('--keep-storage <bytes>', 'so much of it may stay on each node, the newest')
    .option('--filter <key=value>', 'until=TIME: only what was last used before', collected, []);
  addSwitch(prune, '-a, --all', 'also steps whose layers an image on the node has');
  addSwitch(prune, '-f, --force', 'do not ask');
  prune.action(pruneCache);
}

async function showCache({ node, format }: DuFlags): Promise<void> {
  await withCluster(async (control, engine) => {
    const uses = await usesOf(control, engine, node);
    const rows = uses.flatMap(({ name, report }) => cacheRows(name, report.items, Date.now()));
    process.stdout.write(render(CACHE_COLUMNS, rows, format));
    if (format === undefined || format === 'table')
      process.stdout.write(`\n${cacheTotals(uses.flatMap(({ report }) => report.items))}`);
  });
}

async function pruneCache(flags: PruneFlags): Promise<void> {
  const wish = {
    kinds: [BUILD_CACHE],
    until: untilOf(flags.filter, Date.now()),
    unshared: flags.all !== true,
    keepBytes: flags.keepStorage === undefined ? 0 : parseBytes(flags.keepStorage, '--keep-storage'),
  };
  const what = flags.all === true ? 'all build cache' : 'all dangling build cache';
  if (flags.force !== true && !(await agreed(`WARNING! This will remove ${what}.`))) return;
  const signal = interruptible();
  await withCluster(async (control, engine) => {
    const names = await nodesOf(control, flags.node);
    const removed = await fromEach(names, (node) => pruneNode(engine, { ...wish, node }, signal));
    const gone = removed.flat();
    if (gone.length > 0)
      process.stdout.write(`Deleted build cache objects:\n${gone.map(({ id }) => `${id}\n`).join('')}\n`);
    process.stdout.write(`Total reclaimed space: ${formatBytes(gone.reduce((sum, { bytes }) => sum + bytes, 0))}\n`);
  });
}

async function pruneNode(
  engine: EngineClient,
  request: covey.v1.PruneDiskRequest.$Properties,
  signal: AbortSignal,
): Promise<readonly covey.v1.DiskItem[]> {
  const gone: covey.v1.DiskItem[] = [];
  for await (const item of engine.pruneDisk(request, { signal })) gone.push(item);
  return gone;
}

/** Of several the last one counts, as with Docker. 0: none. */
function untilOf(filters: readonly string[], now: number): number {
  let until = 0;
  for (const filter of filters) {
    const [, value] = /^until=(.+)$/s.exec(filter) ?? [];
    if (value === undefined) throw noFilter(filter, ['until']);
    until = momentOf(value, now);
  }
  return until;
}
