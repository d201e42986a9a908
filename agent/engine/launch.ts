/**
 * How a container without a service is made for its next run. Comes in: its record. Goes out: a container that waits to be started,
 * over what it wrote before, with its image, files, mounts and address.
 */
import { toClusterError } from '../../common/errors.ts';
import type { Digest, TaskId } from '../../common/model/ids.ts';
import type { Container } from '../runtime/runtime.ts';
import { shownOf } from './mounts.ts';
import type { ContainerRecord } from './record.ts';
import { requestOf } from './request.ts';
import type { StandaloneTools } from './standalone-tools.ts';

/** What was made. */
export interface Launched {
  readonly container: Container;
  /** Empty = none. */
  readonly address: string;
}

/**
 * @param earlier  its container, when it was made before
 * @throws ClusterError why it cannot run
 */
export async function launch(
  tools: StandaloneTools,
  record: ContainerRecord,
  earlier: Container | undefined,
  signal: AbortSignal,
): Promise<Launched> {
  const { runtime, images, filesFor } = tools;
  const { id, spec } = record;
  const { image, imageDigest, hostname = id.slice(0, 12) } = spec.template.container;
  tools.checkPorts(id);
  const unpacked = await images.ensure(image, imageDigest as Digest, signal);
  const address = spec.network === 'cluster' ? tools.address(id) : '';
  const files = spec.network === 'host' ? [] : await filesFor(hostname, address === '' ? '127.0.1.1' : address);
  const { mounts, devices } = await shownOf(spec, tools.volumes);
  const request = requestOf(record, unpacked, {
    files,
    ...(mounts.length > 0 && { mounts }),
    ...(devices.length > 0 && { devices }),
  });
  const container = await (earlier === undefined ? runtime.create(request, signal) : runtime.remake(request, signal));
  return { container, address };
}

/** What a start that failed has left is ended, as far as that goes. @returns the container, when it was made once */
export async function ended(
  tools: StandaloneTools,
  record: ContainerRecord,
  container: Container | undefined,
  signal: AbortSignal,
): Promise<Container | undefined> {
  try {
    if (container !== undefined && container.state !== 'exited')
      await tools.runtime.stop(record.id, { stopSignal: '', graceMs: 0 }, signal);
    await detached(tools, record);
  } catch (cause) {
    tools.log.warn({ containerId: record.id, cause }, 'a container that did not start could not be ended');
    return container;
  }
  return container === undefined ? undefined : { ...container, state: 'exited' };
}

/** Its link is gone. Before the network was ever taken over there is nothing to forget. */
export async function detached({ network }: StandaloneTools, { id, address }: ContainerRecord): Promise<void> {
  if (address === '') return;
  try {
    await network.detach(id as TaskId);
  } catch (cause) {
    if (toClusterError(cause).code !== 'unavailable') throw cause;
  }
}
