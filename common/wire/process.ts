/** The process part of a template, between the model and its message. Names and ranges are checked by the rules of the model. */
import type { covey } from '../../proto/messages.ts';
import { DEFAULT_PROCESS_RULES, type ProcessRules, type SeccompRule } from '../model/process-rules.ts';
import { integer, labels, oneOf, text } from './fields.ts';

const SECCOMP_KINDS = ['default', 'unconfined', 'profile'] as const;

/** The rules as a message. */
export function toProcess(rules: ProcessRules): covey.v1.ProcessRules.$Properties {
  const { seccomp } = rules;
  return {
    capAdd: [...rules.capAdd],
    capDrop: [...rules.capDrop],
    ulimits: rules.ulimits.map((limit) => ({ ...limit })),
    sysctls: labels(rules.sysctls),
    init: rules.init,
    oomScoreAdj: rules.oomScoreAdj,
    groups: [...rules.groups],
    shmBytes: rules.shmBytes,
    newPrivileges: !rules.noNewPrivileges,
    privileged: rules.privileged,
    seccompKind: seccomp.kind,
    seccompProfile: seccomp.kind === 'profile' ? seccomp.json : '',
    appArmorProfile: rules.appArmorProfile,
    seLinuxLabel: rules.seLinuxLabel,
  };
}

/** The rules of a message. @throws ClusterError `invalid` naming the field */
export function fromProcess(message: covey.v1.ProcessRules.$Properties): ProcessRules {
  return {
    capAdd: [...(message.capAdd ?? [])],
    capDrop: [...(message.capDrop ?? [])],
    ulimits: (message.ulimits ?? []).map(({ name, soft, hard }, index) => ({
      name: text(name),
      soft: integer(soft, `ulimits[${index}].soft`),
      hard: integer(hard, `ulimits[${index}].hard`),
    })),
    sysctls: labels(message.sysctls),
    init: message.init ?? false,
    oomScoreAdj: integer(message.oomScoreAdj, 'oomScoreAdj'),
    groups: [...(message.groups ?? [])],
    shmBytes: integer(message.shmBytes, 'shmBytes'),
    noNewPrivileges: message.newPrivileges !== true,
    privileged: message.privileged ?? false,
    seccomp: fromSeccomp(message),
    appArmorProfile: text(message.appArmorProfile),
    seLinuxLabel: text(message.seLinuxLabel),
  };
}

function fromSeccomp(message: covey.v1.ProcessRules.$Properties): SeccompRule {
  if ((message.seccompKind ?? '') === '') return DEFAULT_PROCESS_RULES.seccomp;
  const kind = oneOf(message.seccompKind, SECCOMP_KINDS, 'seccompKind');
  return kind === 'profile' ? { kind, json: text(message.seccompProfile) } : { kind };
}
