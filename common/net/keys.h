// CURVE keys on disk. Files have CZMQ's certificate format, so pyzmq's zmq.auth.load_certificate
// and zcert_load read them.
//
//   DIR/server.key            the server's pair: the server alone needs it
//   DIR/server.pub            its public half: every client needs it
//   DIR/NAME.key              a client's pair; a program takes client.key, else the key named after
//   its role DIR/authorized/NAME.pub   who may come in, and as what: public key and role. The
//   server reads the folder again when it
//                             changes; what is removed there is refused at its next request
#ifndef HWM_NET_KEYS_H
#define HWM_NET_KEYS_H

#include "net/client.h"
#include "net/curve.h"

typedef struct hwm_key_pair {
    char public_key[HWM_KEY_TEXT];
    char secret_key[HWM_KEY_TEXT];  // "" in a .pub file
    char name[64];
    hwm_role role;
} hwm_key_pair;

const char* hwm_role_name(hwm_role role);
bool hwm_role_parse(const char* text, hwm_role* role);

// Make DIR with the server's pair and one client for every role (what exists stays). HWM_EIO with
// the path and reason.
hwm_status hwm_keys_init(const char* dir, hwm_error* err);
// One more client: DIR/NAME.key and DIR/authorized/NAME.pub. HWM_EEXIST: NAME is taken.
hwm_status hwm_keys_add(const char* dir, const char* name, hwm_role role, hwm_error* err);

// Read one file. HWM_ENOTFOUND, HWM_ECORRUPT with the path and what is wrong with it.
hwm_status hwm_keys_load(const char* path, hwm_key_pair* pair, hwm_error* err);
// What a client of this role needs from DIR: its own pair and the server's public key.
hwm_status hwm_keys_load_client(const char* dir, hwm_role role, hwm_key_pair* own,
                                char server[HWM_KEY_TEXT], hwm_error* err);

// Who may come in: the files of DIR/authorized.
typedef struct hwm_keyring hwm_keyring;
hwm_status hwm_keyring_open(hwm_keyring** out, const char* dir, hwm_error* err);
void hwm_keyring_close(hwm_keyring** ring);
// Borrowed until the next call; NULL: not authorised. Reads the folder again when it has changed.
const hwm_key_pair* hwm_keyring_find(hwm_keyring* ring, const char* public_key);

#endif
