/** The addon with every config changed before the core sees it: what an OCI config may say and a template cannot. */
import type { Addon } from '../../native/index.ts';
import { native } from '../../native/index.ts';

interface AnyConfig {
  process: Record<string, unknown>;
  linux: Record<string, unknown>;
}

/** `change` gets a parsed config to write on; containers and commands in them alike. */
export function patchedAddon(change: (config: AnyConfig) => void): Addon {
  const addon = native();
  const patched = (json: string): string => {
    const config = JSON.parse(json) as AnyConfig;
    change(config);
    return JSON.stringify(config);
  };
  return {
    ...addon,
    containerCreate: (json, options) => addon.containerCreate(patched(json), options),
    containerExec: (pid, startTime, json, options) => addon.containerExec(pid, startTime, patched(json), options),
  };
}
