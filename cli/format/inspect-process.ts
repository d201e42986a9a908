/** The process part of a container in the shape of Docker's `inspect`. Source: Docker Engine API 1.47, ContainerSpec. */
import type { ProcessRules } from '../../common/model/process-rules.ts';

/** The fields that differ from the defaults; Docker's names where Docker has one. */
export function inspectProcess(rules: ProcessRules): object {
  return {
    ...(rules.capAdd.length === 0 ? {} : { CapabilityAdd: rules.capAdd }),
    ...(rules.capDrop.length === 0 ? {} : { CapabilityDrop: rules.capDrop }),
    ...(rules.ulimits.length === 0
      ? {}
      : { Ulimits: rules.ulimits.map(({ name, soft, hard }) => ({ Name: name, Hard: hard, Soft: soft })) }),
    ...(Object.keys(rules.sysctls).length === 0 ? {} : { Sysctls: rules.sysctls }),
    ...(rules.init ? { Init: true } : {}),
    ...(rules.oomScoreAdj === 0 ? {} : { OomScoreAdj: rules.oomScoreAdj }),
    ...(rules.groups.length === 0 ? {} : { Groups: rules.groups }),
    ...(rules.shmBytes === 0 ? {} : { ShmSize: rules.shmBytes }),
    ...(rules.privileged ? { Privileged: true } : {}),
    Privileges: {
      NoNewPrivileges: rules.noNewPrivileges,
      Seccomp: seccomp(rules),
      ...(rules.appArmorProfile === '' ? {} : { AppArmor: { Mode: rules.appArmorProfile } }),
      ...(rules.seLinuxLabel === '' ? {} : { SELinuxContext: { Label: rules.seLinuxLabel } }),
    },
  };
}

function seccomp({ seccomp: rule }: ProcessRules): object {
  switch (rule.kind) {
    case 'default':
      return { Mode: 'default' };
    case 'unconfined':
      return { Mode: 'unconfined' };
    case 'profile':
      return { Mode: 'custom', Profile: JSON.parse(rule.json) as unknown };
  }
}
