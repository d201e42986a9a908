/** `covey node …`. */
import type { Command } from 'commander';
import { ClusterError } from '../../common/errors.ts';
import type { covey } from '../../proto/messages.ts';
import { brief, withCluster } from '../client.ts';
import { EXIT } from '../exit.ts';
import { keyValues, word } from '../flags/values.ts';
import type { Column, Row } from '../format/table.ts';
import type { ListFlags } from './service-list.ts';

const COLUMNS: readonly Column[] = [
  { key: 'ID', title: 'ID' },
  { key: 'Hostname', title: 'HOSTNAME' },
  { key: 'Status', title: 'STATUS' },
  { key: 'Availability', title: 'AVAILABILITY' },
  { key: 'ManagerStatus', title: 'MANAGER STATUS' },
  { key: 'EngineVersion', title: 'ENGINE VERSION' },
  { key: 'Reason', title: 'REASON' },
];

const collect = (item: string, before: string[] | undefined): string[] => [...(before ?? []), item];

/** Adds `node` and its commands. */
export function addNodeCommands(program: Command): void {
  const node = program.command('node').description('Manage the nodes');
  node
    .command('ls')
    .alias('list')
    .description('List nodes')
    .option('--format <format>', 'table, json, or a template of {{.Key}}s')
    .option('-q, --quiet', 'ids only')
    .action(listNodes);
  node
    .command('inspect <node...>')
    .description('Show nodes in full')
    .option('--format <format>', 'json')
    .action(inspectNodes);
  node
    .command('update <node>')
    .description('Change availability and labels')
    .option('--availability <word>', 'active, pause or drain')
    .option('--label-add <key=value>', 'set a label', collect)
    .option('--label-rm <key>', 'remove a label', collect)
    .action(updateNode);
  node
    .command('rm <node...>')
    .alias('remove')
    .description('Remove nodes; their certificates are refused from then on')
    .option('-f, --force', 'although it is ready')
    .action(removeNodes);
}

async function listNodes(flags: ListFlags): Promise<void> {
  const { print, SHORT_ID } = await import('./service-list.ts');
  const { nodeStateWord } = await import('../format/inspect.ts');
  const { fromNodeStatus } = await import('../../common/wire/node.ts');
  const { nodes } = await withCluster((control) => control.listNodes({}, brief()));
  const rows = nodes.map((view): Row => {
    const status = view.status ? fromNodeStatus(view.status) : undefined;
    const state = nodeStateWord(status?.state);
    return {
      ID: (view.node?.id ?? '').slice(0, SHORT_ID),
      Hostname: status?.description.hostname ?? '',
      Status: capital(state),
      Availability: capital(view.node?.availability ?? ''),
      ManagerStatus: view.leader ? 'Leader' : '',
      EngineVersion: status?.description.version ?? '',
      Reason: status === undefined ? 'has never been seen' : status.unfit !== '' ? status.unfit : status.message,
    };
  });
  print(
    COLUMNS,
    rows.toSorted((a, b) => (a.Hostname ?? '').localeCompare(b.Hostname ?? '')),
    flags,
  );
}

async function inspectNodes(refs: readonly string[], flags: ListFlags): Promise<void> {
  const { inspectNode } = await import('../format/inspect.ts');
  const { fromNode, fromNodeStatus } = await import('../../common/wire/node.ts');
  const views = await withCluster(async (control) => {
    const found: covey.v1.NodeView[] = [];
    for (const ref of refs) found.push(await control.getNode({ ref }, brief()));
    return found;
  });
  const shown = views.map((view) =>
    inspectNode(fromNode(view.node ?? {}), view.status ? fromNodeStatus(view.status) : undefined, view.version),
  );
  if (flags.format === 'json') process.stdout.write(shown.map((one) => `${JSON.stringify(one)}\n`).join(''));
  else process.stdout.write(`${JSON.stringify(shown, undefined, 4)}\n`);
}

interface UpdateFlags {
  readonly availability?: string;
  readonly labelAdd?: readonly string[];
  readonly labelRm?: readonly string[];
}

async function updateNode(ref: string, flags: UpdateFlags): Promise<void> {
  const availability =
    flags.availability === undefined ? '' : word(flags.availability, ['active', 'pause', 'drain'], '--availability');
  await withCluster(async (control) => {
    const { node, version } = await control.getNode({ ref }, brief());
    await control.updateNode(
      {
        id: node?.id ?? '',
        version,
        availability,
        labelsAdd: keyValues(flags.labelAdd ?? []),
        labelsRm: [...(flags.labelRm ?? [])],
      },
      brief(),
    );
    process.stdout.write(`${ref}\n`);
  });
}

async function removeNodes(refs: readonly string[], flags: { readonly force?: boolean }): Promise<void> {
  await withCluster(async (control) => {
    for (const ref of refs) {
      try {
        await control.removeNode({ ref, force: flags.force === true }, brief());
        process.stdout.write(`${ref}\n`);
      } catch (error) {
        if (!(error instanceof ClusterError) || error.code === 'unavailable') throw error;
        process.stderr.write(`covey: ${error.message}${error.hint === undefined ? '' : ` (${error.hint})`}\n`);
        process.exitCode = EXIT.error;
      }
    }
  });
}

function capital(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}
