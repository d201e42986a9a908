/**
 * Which images run on this machine: system, architecture and variant, in Go's names.
 * Source: OCI image-spec, image-index.md, "platform"; containerd platforms, "normalize" and "compare"; x86-64 psABI, micro-architecture
 * levels.
 */
import { readFileSync } from 'node:fs';
import { ClusterError } from '../errors.ts';

export interface Platform {
  readonly os: string;
  readonly arch: string;
  /** As `v7` of arm or `v3` of amd64; absent = the architecture's usual one. */
  readonly variant?: string;
}

/** Go's names for Node's, where they differ. */
const ARCHITECTURES: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  ppc64: 'ppc64le',
  loong64: 'loong64',
};
/** Other names that indexes have for them. */
const ALIASES: Readonly<Record<string, string>> = { x86_64: 'amd64', 'x86-64': 'amd64', aarch64: 'arm64', i386: '386' };
/** What no word of a variant means. */
const USUAL: Readonly<Record<string, string>> = { amd64: 'v1', arm64: 'v8', arm: 'v7' };
/** What each level of amd64 adds, as /proc/cpuinfo calls it. */
const AMD64_LEVELS: readonly (readonly string[])[] = [
  ['cx16', 'lahf_lm', 'popcnt', 'pni', 'sse4_1', 'sse4_2', 'ssse3'],
  ['abm', 'avx', 'avx2', 'bmi1', 'bmi2', 'f16c', 'fma', 'movbe', 'xsave'],
  ['avx512bw', 'avx512cd', 'avx512dq', 'avx512f', 'avx512vl'],
];
const OLDEST_ARM = 5;
/** Told of an index without ours, so many. */
const LISTED_MAX = 20;

/** The one system and architecture that containers run on here; of images made here, which need no special processor. */
export const PLATFORM: Platform = { os: 'linux', arch: ARCHITECTURES[process.arch] ?? process.arch };

/** A machine: PLATFORM, and the variants that its processor runs, best first. Empty: any. */
export interface Machine {
  readonly os: string;
  readonly arch: string;
  readonly variants: readonly string[];
}

/** @param cpuinfo  /proc/cpuinfo */
export function machineOf(arch: string, cpuinfo: string): Machine {
  switch (arch) {
    case 'amd64': {
      const flags = new Set(/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.trim().split(/\s+/));
      const missing = AMD64_LEVELS.findIndex((level) => !level.every((flag) => flags.has(flag)));
      return { os: 'linux', arch, variants: downFrom(1 + (missing === -1 ? AMD64_LEVELS.length : missing), 1) };
    }
    case 'arm':
      return {
        os: 'linux',
        arch,
        variants: downFrom(Number(/^CPU architecture\s*:\s*(\d+)/m.exec(cpuinfo)?.[1] ?? 7), OLDEST_ARM),
      };
    case 'arm64':
      return { os: 'linux', arch, variants: ['v8'] };
    default:
      return { os: 'linux', arch, variants: [] };
  }
}

function downFrom(highest: number, lowest: number): readonly string[] {
  return Array.from({ length: Math.max(highest - lowest + 1, 0) }, (_, below) => `v${highest - below}`);
}

let here: Machine | undefined;

/** This machine, looked at once. */
function thisMachine(): Machine {
  here ??= machineOf(PLATFORM.arch, readFileSync('/proc/cpuinfo', 'latin1'));
  return here;
}

/** Whether this machine runs what is made for `platform`. */
export function fits(platform: Platform, machine = thisMachine()): boolean {
  return rankOf(platform, machine) !== undefined;
}

/** 0 is best; undefined does not run. */
export function rankOf(platform: Platform, machine = thisMachine()): number | undefined {
  const arch = ALIASES[platform.arch] ?? platform.arch;
  if (platform.os !== machine.os || arch !== machine.arch) return undefined;
  if (machine.variants.length === 0) return 0;
  const said = platform.variant ?? '';
  const rank = machine.variants.indexOf(said === '' ? (USUAL[arch] ?? '') : said);
  return rank === -1 ? undefined : rank;
}

/** `linux/amd64`, `linux/arm/v7`; `unnamed` when nothing is said. */
export function platformText(platform: Platform | undefined): string {
  if (platform === undefined) return 'unnamed';
  return [platform.os, platform.arch, platform.variant ?? ''].filter((part) => part !== '').join('/');
}

/** The error for an image that cannot run here. @param found  the platforms it is for; empty: it is for none */
export function wrongPlatform(
  name: string,
  found: readonly (Platform | undefined)[],
  machine = thisMachine(),
): ClusterError {
  const [best] = machine.variants;
  const texts = [...new Set(found.map(platformText))].slice(0, LISTED_MAX);
  const wanted = `${machine.os}/${machine.arch}`;
  const hasVariants = best !== undefined && machine.variants.length > 1;
  const ours = hasVariants ? `${wanted} (up to ${best})` : wanted;
  return new ClusterError('invalid', `${name} is for ${texts.join(', ') || 'nothing'}, not for ${ours}`, {
    hint: `build or pull it with --platform ${wanted}`,
  });
}
