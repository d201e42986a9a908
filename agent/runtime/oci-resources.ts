/** What a container may use, as linux.resources of an OCI config. Pure. Source: OCI runtime-spec, config-linux.md. */
import type { Limits } from '../../common/model/service.ts';

/** A block device of the host. */
interface Device {
  readonly major: number;
  readonly minor: number;
}

/** Bytes or operations a second; 0 lifts the limit. */
export interface ThrottledDevice extends Device {
  readonly rate: number;
}

/** Every part is optional: at creation absent means unlimited, in an update unchanged. */
export interface OciLimits {
  /** Bytes, -1 = no limit. `swap` is memory and swap together; without it there is none, as far as the host counts swap. */
  readonly memory?: {
    readonly limit?: number;
    readonly swap?: number;
    readonly reservation?: number;
    /** 0–100; v1 only. */
    readonly swappiness?: number;
    /** A limit below what is in use is refused. */
    readonly checkBeforeUpdate?: boolean;
  };
  /** Times in microseconds; `cpus` and `mems` as `0-2,7`. */
  readonly cpu?: {
    readonly shares?: number;
    readonly quota?: number;
    readonly period?: number;
    readonly burst?: number;
    readonly cpus?: string;
    readonly mems?: string;
    readonly idle?: 0 | 1;
  };
  /** -1 = no limit. */
  readonly pids?: { readonly limit: number };
  readonly blockIO?: {
    /** 10–1000 */
    readonly weight?: number;
    readonly weightDevice?: readonly (Device & { readonly weight: number })[];
    readonly throttleReadBpsDevice?: readonly ThrottledDevice[];
    readonly throttleWriteBpsDevice?: readonly ThrottledDevice[];
    readonly throttleReadIOPSDevice?: readonly ThrottledDevice[];
    readonly throttleWriteIOPSDevice?: readonly ThrottledDevice[];
  };
  readonly hugepageLimits?: readonly { readonly pageSize: string; readonly limit: number }[];
  /** Files of cgroup v2 by name, such as `memory.high`. */
  readonly unified?: Readonly<Record<string, string>>;
}

export interface OciResources extends OciLimits {
  /** Without a type: every device. */
  readonly devices: readonly {
    readonly allow: boolean;
    readonly access: string;
    readonly type?: 'b' | 'c';
    readonly major?: number;
    readonly minor?: number;
  }[];
}

/** Docker's; the kernel's smallest quota is 1 ms, so a period of 100 ms allows 0.01 CPUs. */
const CPU_PERIOD_US = 100_000;
const CPU_QUOTA_MIN_US = 1_000;

/** What a task's limits mean; 0 sets none. */
export function resourcesOf(limits: Limits, devices: 'none' | 'all'): OciResources {
  return {
    devices: [{ allow: devices === 'all', access: 'rwm' }],
    ...memoryOf(limits),
    ...(limits.nanoCpus > 0 && { cpu: { quota: quotaOf(limits.nanoCpus), period: CPU_PERIOD_US } }),
    ...(limits.pids > 0 && { pids: { limit: limits.pids } }),
  };
}

function memoryOf({ memoryBytes, memorySwapBytes, memorySwappiness }: Limits): Pick<OciResources, 'memory'> {
  const swap = memorySwapBytes === undefined ? {} : { swap: memorySwapBytes };
  const limit = memoryBytes > 0 ? { limit: memoryBytes, ...swap } : {};
  const swappiness = memorySwappiness === undefined ? {} : { swappiness: memorySwappiness };
  const memory = { ...limit, ...swappiness };
  return Object.keys(memory).length === 0 ? {} : { memory };
}

function quotaOf(nanoCpus: number): number {
  return Math.max(CPU_QUOTA_MIN_US, Math.round((nanoCpus * CPU_PERIOD_US) / 1e9));
}
