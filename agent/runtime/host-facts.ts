/** What a container's config depends on of the host: kernel, architecture, our own capabilities, the default profile. */
import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { ClusterError } from '../../common/errors.ts';
import { CAPABILITIES } from '../../common/model/process-rules.ts';
import { parseSeccompProfile, type SeccompProfile } from '../../common/model/seccomp-profile.ts';
import { packageFile } from '../../native/index.ts';
import type { SeccompHost } from './seccomp.ts';

export interface HostFacts extends SeccompHost {
  /** `CAP_…` names that this process can give on. */
  readonly capabilities: readonly string[];
  readonly defaultSeccomp: SeccompProfile;
}

/** @throws ClusterError `unavailable` when the default profile is missing or broken */
export function hostFacts(): HostFacts {
  return {
    kernel: release(),
    arch: process.arch,
    capabilities: ownCapabilities(readFileSync('/proc/self/status', 'utf8')),
    defaultSeccomp: defaultSeccomp(packageFile('native/seccomp/default.json')),
  };
}

/** The permitted set in the text of /proc/PID/status. Source: proc(5). */
export function ownCapabilities(status: string): readonly string[] {
  const mask = BigInt(`0x${/^CapPrm:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return CAPABILITIES.filter((_, number) => ((mask >> BigInt(number)) & 1n) === 1n);
}

function defaultSeccomp(path: string): SeccompProfile {
  const parsed = parseSeccompProfile(readFileSync(path, 'utf8'));
  if ('profile' in parsed) return parsed.profile;
  throw new ClusterError('unavailable', `default seccomp profile ${path} ${parsed.flaw}`, {
    hint: 'install Covey again',
  });
}
