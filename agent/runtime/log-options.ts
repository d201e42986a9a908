/** What the core is told of a container's log. */
import type { LogSettings } from '../../common/model/log-policy.ts';
import type { ContainerCreateOptions } from '../../native/container.ts';

const FORMATS = { local: 'text', 'json-file': 'json', none: 'none' } as const;

/** The core's options for these settings; the path is the folder's. */
export function logOptions(
  settings: LogSettings,
): Pick<ContainerCreateOptions, 'logMaxBytes' | 'logFiles' | 'logFormat' | 'logBufferBytes'> {
  const { driver, maxBytes, files, bufferBytes } = settings;
  return { logMaxBytes: maxBytes, logFiles: files, logFormat: FORMATS[driver], logBufferBytes: bufferBytes };
}
