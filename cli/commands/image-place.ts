/** `image push --to-cluster`: an image of the cluster on its nodes, before a task needs it. */
import { ClusterError, explain, toClusterError } from '../../common/errors.ts';
import { brief, type ControlClient, interruptible, withCluster } from '../client.ts';
import { EXIT } from '../exit.ts';

export interface PlaceFlags {
  readonly node: readonly string[];
  readonly quiet?: boolean;
}

/** All nodes at once. One that fails is told and makes the exit code 1; the others go on. */
export async function placeImage(name: string, flags: PlaceFlags): Promise<void> {
  const say = flags.quiet === true ? () => undefined : (line: string) => process.stdout.write(`${line}\n`);
  const signal = interruptible();
  await withCluster(async (control, engine) => {
    const { image } = await control.inspectImage({ ref: name }, brief());
    const { reference = '', digest = '' } = image ?? {};
    const nodes = flags.node.length > 0 ? flags.node : await readyNodes(control);
    const place = async (node: string): Promise<boolean> => {
      try {
        for await (const { here, existed } of engine.placeImage({ node, reference, digest }, { signal })) {
          if (here) say(`${node}: ${existed ? 'Already exists' : 'Placed'}`);
          else say(`${node}: Pulling`);
        }
        return true;
      } catch (cause) {
        signal.throwIfAborted();
        process.stderr.write(`covey: ${node}: ${explain(toClusterError(cause))}\n`);
        return false;
      }
    };
    const placed = (await Promise.all(nodes.map(place))).filter((isHere) => isHere).length;
    say(`${reference}: on ${placed} of ${nodes.length} ${nodes.length === 1 ? 'node' : 'nodes'}`);
    if (placed < nodes.length) process.exitCode = EXIT.error;
  });
}

/** By name; two of one name by id. */
async function readyNodes(control: ControlClient): Promise<readonly string[]> {
  const { nodes } = await control.listNodes({}, brief());
  const ready = nodes.filter(({ status }) => status?.state === 'ready');
  const names = nodes.map(({ status }) => status?.description?.hostname ?? '');
  if (ready.length === 0) {
    throw new ClusterError('unavailable', 'no node is ready', { hint: 'see `covey node ls`' });
  }
  return ready.map(({ node, status }) => {
    const name = status?.description?.hostname ?? '';
    return name !== '' && names.indexOf(name) === names.lastIndexOf(name) ? name : (node?.id ?? '');
  });
}
