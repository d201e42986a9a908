/** `system df` and `system prune`: what takes room on the nodes' disks, and being rid of it. */
import type { Command } from 'commander';
import { formatBytes } from '../../common/units.ts';
import type { covey } from '../../proto/messages.ts';
import { agreed } from '../agreed.ts';
import { type EngineClient, interruptible, withCluster } from '../client.ts';
import { fromEach, nodesOf, usesOf } from '../each-node.ts';
import { addSwitch } from '../flags/switch.ts';
import { collected } from '../flags/values.ts';
import { DISK_COLUMNS, diskRows, ITEM_COLUMNS, itemRows, NODE_COLUMNS, nodeRow } from '../format/disk.ts';
import { render, renderTable } from '../format/table.ts';
import { pruneWish } from './image-removal.ts';

interface DfFlags {
  readonly node?: string;
  readonly verbose?: boolean;
  readonly format?: string;
}

interface PruneFlags {
  readonly node?: string;
  readonly all?: boolean;
  readonly force?: boolean;
  readonly plan?: boolean;
  readonly filter: readonly string[];
}

/** Adds `system`. */
export function addSystemCommands(program: Command): void {
  const system = program.command('system').description('See what takes room on the nodes’ disks, and be rid of it');
  const df = system
    .command('df')
    .description('Show what takes room on the nodes’ disks')
    .option('--node <node>', 'of one node only')
    .option('--format <format>', 'table, json or a template');
  addSwitch(df, '-v, --verbose', 'how full the disks are, and each thing by itself');
  df.action(showUse);
  const prune = system
    .command('prune')
    .description('Remove what nobody uses: stopped containers, images, build cache')
    .option('--node <node>', 'from one node only, and nothing from the cluster’s images')
    .option('--filter <key=value>', 'until=TIME: only what was last used before; may be repeated', collected, []);
  addSwitch(prune, '-a, --all', 'of the cluster’s images every one that nobody uses, not only those without a name');
  addSwitch(prune, '-f, --force', 'do not ask');
  addSwitch(prune, '--plan', 'only show what would go');
  prune.action(pruneAll);
}

async function showUse(flags: DfFlags): Promise<void> {
  await withCluster(async (control, engine) => {
    const uses = await usesOf(control, engine, flags.node);
    const rows = uses.flatMap(({ name, report }) => diskRows(name, report));
    if (flags.verbose === true) {
      const nodes = uses.map(({ name, report }) => nodeRow(name, report));
      const items = uses.flatMap(({ name, report }) => itemRows(name, report.items, Date.now()));
      process.stdout.write(`${renderTable(NODE_COLUMNS, nodes)}\n${renderTable(ITEM_COLUMNS, items)}\n`);
    }
    process.stdout.write(render(DISK_COLUMNS, rows, flags.format));
    for (const { name, report } of uses) {
      if (report.pressure !== '') process.stderr.write(`covey: node ${name}: ${report.pressure}\n`);
    }
  });
}

async function pruneAll(flags: PruneFlags): Promise<void> {
  const { until, labels, labelsNot } = pruneWish(flags.filter, Date.now());
  const plan = flags.plan ?? false;
  const images = flags.all === true ? 'all images that nobody uses' : 'all images without a name that nobody uses';
  const parts = [
    'all stopped containers',
    ...(flags.node === undefined ? [`${images}, in the cluster`] : []),
    'images on nodes that nobody uses there',
    'unused build cache',
  ];
  const warning = `WARNING! This will remove:\n${parts.map((part) => `  - ${part}`).join('\n')}\n`;
  if (!plan && flags.force !== true && !(await agreed(warning))) return;
  const signal = interruptible();
  await withCluster(async (control, engine) => {
    let freed = 0;
    if (flags.node === undefined) {
      const wish = { all: flags.all ?? false, until, labels, labelsNot, plan };
      const removed = await control.pruneImages(wish, { signal });
      for (const name of removed.untagged) process.stdout.write(`cluster: image ${name}\n`);
      freed += removed.reclaimedBytes;
    }
    const names = await nodesOf(control, flags.node);
    const sums = await fromEach(names, (node) => pruneNode(engine, { node, plan, until, kinds: [] }, signal));
    freed = sums.reduce((sum, bytes) => sum + bytes, freed);
    process.stdout.write(`Total ${plan ? 'reclaimable' : 'reclaimed'} space: ${formatBytes(freed)}\n`);
  });
}

async function pruneNode(
  engine: EngineClient,
  request: covey.v1.PruneDiskRequest.$Properties,
  signal: AbortSignal,
): Promise<number> {
  let freed = 0;
  for await (const { kind, name, bytes } of engine.pruneDisk(request, { signal })) {
    process.stdout.write(`${request.node}: ${kind} ${name} ${formatBytes(bytes)}\n`);
    freed += bytes;
  }
  return freed;
}
