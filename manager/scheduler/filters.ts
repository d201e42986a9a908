/**
 * What a node must have to get a task, one filter a reason, in the order in which they are charged: a node that fails
 * is explained by its first failing filter only.
 */
import { holds } from '../../common/model/constraint.ts';
import type { Seat, Want } from './seats.ts';

/** Why a node is refused. */
export interface Refusal {
  /** Groups equal refusals of several nodes; the number of nodes is written behind it. */
  readonly phrase: string;
  /** Of this one node, with its figures. */
  readonly sentence: string;
}

export interface Filter {
  readonly name: string;
  /** False: the filter asks nothing of these tasks and is skipped. */
  applies(want: Want): boolean;
  /** Undefined: the node fits. `ofService` = wanted tasks of the service that it has already. */
  refusal(want: Want, seat: Seat, ofService: number): Refusal | undefined;
}

const ready: Filter = {
  name: 'ready',
  applies: () => true,
  refusal(_want, { node, status, blockProblem }) {
    const { availability } = node.value;
    if (availability === 'drain') return same('drained:', 'node is drained');
    if (availability === 'pause') return same('paused:', 'node is paused');
    if (status === undefined) return same('not ready:', 'node is not ready: its agent has never reported');
    if (status.state !== 'ready') {
      const because = status.message === '' ? '' : `: ${status.message}`;
      return same('not ready:', `node is not ready (${status.state})${because}`);
    }
    if (status.unfit !== '') return same('unfit:', `node is unfit: ${status.unfit}`);
    if (blockProblem !== '') return same('without address block:', `node has no address block: ${blockProblem}`);
    return undefined;
  },
};

const resources: Filter = {
  name: 'resources',
  applies: (want) => want.nanoCpus > 0 || want.memoryBytes > 0,
  refusal(want, seat) {
    const cpusLeft = (seat.status?.description.nanoCpus ?? 0) - seat.nanoCpus;
    if (want.nanoCpus > cpusLeft) {
      return same(
        'insufficient cpu on',
        `insufficient cpu: ${cpus(want.nanoCpus)} wanted, ${cpus(cpusLeft)} not reserved`,
      );
    }
    const memoryLeft = (seat.status?.description.memoryBytes ?? 0) - seat.memoryBytes;
    if (want.memoryBytes > memoryLeft) {
      return same(
        'insufficient memory on',
        `insufficient memory: ${mebibytes(want.memoryBytes)} wanted, ${mebibytes(memoryLeft)} not reserved`,
      );
    }
    return undefined;
  },
};

const constraint: Filter = {
  name: 'constraint',
  applies: (want) => want.constraints.length > 0,
  refusal(want, seat) {
    for (const wanted of want.constraints) {
      if (wanted === undefined) return same('constraint not understood on', 'a constraint is not understood');
      if (holds(wanted, seat.facts)) continue;
      const text = `${wanted.key}${wanted.equal ? '==' : '!='}${wanted.value}`;
      return same(`constraint ${text} not met on`, `constraint ${text} is not met`);
    }
    return undefined;
  },
};

const platform: Filter = {
  name: 'platform',
  applies: (want) => want.platform.os !== '' || want.platform.arch !== '',
  refusal(want, seat) {
    const { os = '', arch = '' } = seat.status?.description ?? {};
    const wanted = want.platform;
    if (agree(wanted.os, os) && agree(ARCH[wanted.arch] ?? wanted.arch, ARCH[arch] ?? arch)) return undefined;
    const text = `${wanted.os}/${wanted.arch}`;
    return same(`image platform ${text} not offered on`, `image is for ${text}, node is ${os}/${arch}`);
  },
};

const hostPort: Filter = {
  name: 'host-port',
  applies: (want) => want.hostPorts.length > 0,
  refusal(want, seat) {
    const taken = want.hostPorts.find((port) => seat.portUsers(port) > 0);
    if (taken === undefined) return undefined;
    return same(`host-mode port ${taken} in use on`, `host-mode port ${taken} is in use by another task or container`);
  },
};

const maxReplicas: Filter = {
  name: 'max-replicas',
  applies: (want) => want.maxPerNode > 0,
  refusal(want, _seat, ofService) {
    if (ofService < want.maxPerNode) return undefined;
    return same(
      `max replicas per node (${want.maxPerNode}) reached on`,
      `max replicas per node (${want.maxPerNode}) reached`,
    );
  },
};

/** In the order of charging. Source: swarmkit, scheduler pipeline. */
export const FILTERS: readonly Filter[] = [ready, resources, constraint, platform, hostPort, maxReplicas];

/** Charged by `schedule` when everything else fits. */
export const BLOCK_FULL: Refusal = {
  phrase: 'no free address on',
  sentence: 'every address of the node is in use',
};

/** The first filter's refusal, or undefined when the node may have the task. */
export function refusalOf(want: Want, seat: Seat, ofService: number): Refusal | undefined {
  for (const filter of FILTERS) {
    const refusal = filter.applies(want) ? filter.refusal(want, seat, ofService) : undefined;
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** Names that mean the same machine. Source: swarmkit, platform filter. */
const ARCH: Readonly<Record<string, string>> = { x86_64: 'amd64', x64: 'amd64', aarch64: 'arm64' };

function agree(wanted: string, offered: string): boolean {
  return wanted === '' || offered === '' || wanted === offered;
}

function same(phrase: string, sentence: string): Refusal {
  return { phrase, sentence };
}

function cpus(nano: number): string {
  return `${Math.max(0, Math.round(nano / 1e6)) / 1e3} cpu`;
}

function mebibytes(bytes: number): string {
  return `${Math.max(0, Math.round(bytes / 1024 / 102.4) / 10)} MiB`;
}
