/** `volume ls|rm|prune`: the volumes of containers without a service. Each belongs to its node. */
import type { Command } from 'commander';
import { ClusterError, explain, toClusterError } from '../../common/errors.ts';
import { agreed } from '../agreed.ts';
import { brief, type ControlClient, type EngineClient, withCluster } from '../client.ts';
import { EXIT } from '../exit.ts';
import { addSwitch } from '../flags/switch.ts';
import { type Column, render } from '../format/table.ts';

const COLUMNS: readonly Column[] = [
  { key: 'Node', title: 'NODE' },
  { key: 'Name', title: 'VOLUME NAME' },
  { key: 'Containers', title: 'CONTAINERS' },
];

interface Found {
  readonly nodeId: string;
  readonly node: string;
  readonly name: string;
  readonly path: string;
  readonly anonymous: boolean;
  readonly containers: readonly string[];
}

/** Adds `volume`. */
export function addVolumeCommands(program: Command): void {
  const volume = program.command('volume').description('See and remove the volumes that nodes keep for containers');
  const ls = volume.command('ls').description('List volumes').option('--node <node>', 'of one node only');
  ls.option('--format <format>', 'table, json, or a template of {{.Key}}s');
  addSwitch(ls, '-q, --quiet', 'names only');
  ls.action(async ({ node, format, quiet }: { node?: string; format?: string; quiet?: boolean }) => {
    const found = await withCluster((control, engine) => volumesOf(control, engine, node));
    if (quiet === true) return void process.stdout.write(found.map(({ name }) => `${name}\n`).join(''));
    const rows = found.map((each) => ({
      Node: each.node,
      Name: each.name,
      Mountpoint: each.path,
      Containers: each.containers.join(', '),
    }));
    process.stdout.write(render(COLUMNS, rows, format));
  });
  const rm = volume.command('rm <volume...>').description('Remove volumes with all that is in them');
  rm.option('--node <node>', 'of this node; needed when several have one of that name');
  addSwitch(rm, '-f, --force', 'one that is not there is no failure');
  rm.action(removeVolumes);
  const prune = volume.command('prune').description('Remove volumes that have no container');
  prune.option('--node <node>', 'of one node only');
  addSwitch(prune, '-a, --all', 'those that somebody has named too');
  addSwitch(prune, '-f, --force', 'do not ask');
  prune.action(pruneVolumes);
}

async function removeVolumes(names: readonly string[], flags: { node?: string; force?: boolean }): Promise<void> {
  await withCluster(async (control, engine) => {
    const all = await volumesOf(control, engine, flags.node);
    for (const name of names) {
      try {
        const [one, ...others] = all.filter((each) => each.name === name);
        if (others.length > 0) {
          const nodes = [one, ...others].map((each) => each?.node).join(', ');
          throw new ClusterError('invalid', `volume ${name} is on several nodes: ${nodes}`, {
            hint: 'add --node NODE',
          });
        }
        if (one !== undefined) await engine.removeVolume({ node: one.nodeId, name }, brief());
        else if (flags.force !== true) throw new ClusterError('not_found', `no such volume: ${name}`);
        process.stdout.write(`${name}\n`);
      } catch (cause) {
        process.stderr.write(`covey: ${explain(toClusterError(cause))}\n`);
        process.exitCode = EXIT.error;
      }
    }
  });
}

async function pruneVolumes(flags: { node?: string; all?: boolean; force?: boolean }): Promise<void> {
  const which = flags.all === true ? 'all volumes' : 'all volumes that nobody has named,';
  const warning = `WARNING! This will remove ${which} that no container has.\n`;
  if (flags.force !== true && !(await agreed(warning))) return;
  await withCluster(async (control, engine) => {
    const all = await volumesOf(control, engine, flags.node);
    for (const { nodeId, node, name, anonymous, containers } of all) {
      if (containers.length > 0 || (!anonymous && flags.all !== true)) continue;
      await engine.removeVolume({ node: nodeId, name }, brief());
      process.stdout.write(`${node}: ${name}\n`);
    }
  });
}

/** Of the node, or of all that can be asked; one that cannot is told. */
async function volumesOf(
  control: ControlClient,
  engine: EngineClient,
  ref: string | undefined,
): Promise<readonly Found[]> {
  const nodes = ref === undefined ? (await control.listNodes({}, brief())).nodes : [];
  const ids = ref === undefined ? nodes.map(({ node }) => node?.id ?? '') : [ref];
  const lists = await Promise.all(
    ids.map(async (id, index) => {
      const node = nodes[index]?.status?.description?.hostname ?? id;
      try {
        const { volumes } = await engine.listVolumes({ node: id }, brief());
        return volumes.map(({ name, path, anonymous, containers }) => ({
          nodeId: id,
          node,
          name,
          path,
          anonymous,
          containers,
        }));
      } catch (cause) {
        if (ref !== undefined) throw cause;
        process.stderr.write(`covey: node ${node} was not asked: ${toClusterError(cause).message}\n`);
        return [];
      }
    }),
  );
  return lists.flat();
}
